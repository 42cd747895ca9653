"""Dead letters: browsed, selected, described, exported and replayed."""
