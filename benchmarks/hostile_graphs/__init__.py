"""Posts mutated graphs to a real ComfyUI server and counts how each one ends.

`base_graphs.py` loads the graphs, `mutations.py` changes them, `outcome.py` classifies their outcomes, and `control.py`
applies the same mutation to one of ComfyUI's own nodes.
"""
