"""Makes the checkpoints that `prefgen` reads. Imports `prefgen`, never ComfyUI."""
