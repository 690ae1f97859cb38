"""Converts published models and our trainings' output folders to preference checkpoints.

`published.py` converts a published LoRA with or without preference tokens, described by a layout of `layouts.py`.
`peft_folder.py` and `pickled.py` read its files, and `tensor_check.py` checks the tensors. `trained.py` takes the
checkpoint out of a training's output folder. `output_file.py` writes the result.
"""
