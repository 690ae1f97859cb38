"""Trains the checkpoints that `prefgen` loads. This package imports `prefgen`, but never ComfyUI."""
