"""Sampling with gradients through ComfyUI's guider, models and VAE."""
