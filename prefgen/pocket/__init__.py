"""The pocket models: small bundled models with SDXL's and Idefics2's architectures, one file for each part.

They run through the same code as the full-size models. This package holds their weights, their shapes (`shapes.py`) and
two expansions that keep the files small: `taesd.py` pads a narrow TAESD to ComfyUI's width, and `text.py` expands the
used rows of a CLIP vocabulary to a whole table.
"""
