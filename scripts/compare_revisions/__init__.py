"""Compares the outputs of two revisions of the pack bit for bit; see `__main__.py`."""
