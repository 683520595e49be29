"""Answers from the store: photos like a given one, the likely fruit, near-duplicates."""
