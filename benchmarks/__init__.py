"""Benchmarks: each compares PrefGen with another method or a limit, and writes out/benchmarks/<name>.json."""
