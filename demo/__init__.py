"""`make demo`: two people of opposite taste, three prompts, painted and judged through a real ComfyUI."""
