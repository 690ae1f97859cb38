"""Queues, rates and queues again for a long time, and measures what a real server keeps.

    make python ARGS="-m benchmarks.soak --minutes 60"

Each round paints a person's pictures, rates them over HTTP, and paints again with the new ratings. People, sizes,
batches and masks change; some rounds run a noise optimisation, some interrupt one, and some paint one fixed graph,
whose picture must stay the same to the bit. At the end of each round the server frees its memory and clears its
history, which keeps every prompt and its outputs; then its resident memory and its open files are counted. As a
control, `--rounds plain` paints with ComfyUI's own nodes alone. The growth of memory is a line through the mean of each
minute after the first ten; the upper 95 % bound of its slope must be at most 0.2 MiB a minute. Reads /proc, so it needs
Linux. The last line is one JSON object.
"""
