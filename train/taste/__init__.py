"""Learns the prior of the taste head from a population: features of items, and a distribution of people's weights."""
