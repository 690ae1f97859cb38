"""Acceptance criteria of the project: `make bars` runs all measuring commands and prints one table."""
