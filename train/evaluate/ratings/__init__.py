"""Evaluates the taste head on tables of real people's ratings."""
