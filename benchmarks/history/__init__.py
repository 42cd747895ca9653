"""The queries of the history on a week of records, timed."""
