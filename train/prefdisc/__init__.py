"""Trains PrefDisc (paper index section 2) on any base model, with transformers' Trainer, peft and accelerate."""
