"""From what others publish, and from what our training leaves behind, to one preference checkpoint; and what one holds.

`published.py` converts a published LoRA with or without preference tokens, by a layout out of `layouts.py`;
`peft_folder.py` and `pickled.py` read its files, and take plain tensors only (`plain.py`); `trained.py` takes a
training's output folder; `target.py` is where it all goes; `inspect.py` describes a checkpoint; `command.py` is the
command line.
"""
