"""Benchmarks PrefGen on Idefics2-8B and SDXL with random weights: time, memory, and the device's own limits."""
