"""`make learn-demo`: simulated users rate what is painted for them, round after round, through ComfyUI's routes."""
