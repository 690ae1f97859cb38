"""Evaluation commands for trained models, and the judge: a classifier of poster attributes."""
