"""Estimates the memory and compute of a PrefDisc training from the base model's shapes. Nothing is downloaded."""
