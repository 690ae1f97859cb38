"""`make learn-demo`: simulated users rate their pictures for several rounds, through ComfyUI's HTTP routes."""
