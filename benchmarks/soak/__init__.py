"""Queues prompts and rates images for a long time, and measures the memory and files that a real server keeps.

    make python ARGS="-m benchmarks.soak --minutes 60"

Some rounds paint a person's pictures, rate them over HTTP, and paint again with the new ratings; people, sizes, batches
and masks change. Other rounds run a noise optimisation, interrupt one, or run one fixed graph, whose picture must stay
bit-identical. At the end of each round the server frees its memory and clears its history, which keeps every prompt and
its outputs. Then the resident memory and the number of open files are measured. As a control, `--rounds plain` uses
only ComfyUI's own nodes. The growth of memory is the slope of a line through the mean of each minute after the first
ten. The upper 95 % bound of the slope must be at most 0.2 MiB per minute. The benchmark reads /proc, so it needs Linux.
The last line is one JSON object.
"""
