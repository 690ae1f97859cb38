"""Provides agents, image features, metrics and contact sheets for all evaluations of generated pictures.

`agents.py` defines agents and their prompts, `agent_sampling.py` samples the agents of a command, `tensor_cache.py`
stores generated pictures, `metrics.py` has the formulas, `image_features.py` the CLIP and style features,
`evaluator.py` measures pictures, and `contact_sheet.py` has what contact sheets share.
"""
