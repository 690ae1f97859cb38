"""Training data: posters drawn from attributes, and agents (simulated users) with a taste over them."""
