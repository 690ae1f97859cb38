"""Benchmarks that compare PrefGen with other methods or limits. Each one writes out/benchmarks/<name>.json."""
