"""Commands that print a table and write out/benchmarks/<name>.json: ours beside a peer or a limit, in one run."""
