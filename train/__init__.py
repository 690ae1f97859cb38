"""Trains the checkpoints that `prefgen` loads. Imports `prefgen`, never ComfyUI."""
