"""Trains PrefDisc (method.md section 2) on any base model, with transformers' Trainer, peft and accelerate."""
