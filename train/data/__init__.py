"""Training data: posters drawn from attributes, simulated users (agents) with tastes, and datasets of both."""
