"""The pocket models: a complete small system that is shipped with the pack, one ``.safetensors`` file a part.

They run through the same code as the full-size models; this package holds their weights, their shapes (``shapes.py``)
and the two expansions that keep the files small: a narrow TAESD padded to core's width (``taesd.py``) and the rows of a
CLIP vocabulary that are in use (``text.py``).
"""
