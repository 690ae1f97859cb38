"""Trains PrefDisc (method.md section 2) with transformers' Trainer, peft and accelerate, on any base model."""
