"""`make demo`: pictures for two people with opposite tastes, generated and scored by a real ComfyUI."""
