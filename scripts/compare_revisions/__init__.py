"""Compares what two revisions of the pack compute, bit for bit: see `__main__.py`."""
