"""Diagnoses failures of a noise optimisation that input validation cannot catch, with one kind per module."""
