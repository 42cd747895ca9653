"""The history as an operator uses it: one event in words, whole selections, actions on record."""
