"""Diagnoses failures of a noise optimisation that input validation cannot catch, one kind in each module."""
