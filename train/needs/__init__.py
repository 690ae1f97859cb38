"""Estimates the memory and compute needed to train PrefDisc, from the base model's shapes. Nothing is downloaded."""
