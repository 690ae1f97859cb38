"""Evaluates the personalised generator on unseen users (paper index section 3, PrefBench).

`conditions.py` defines what is compared, `cached_generator.py` generates the pictures, `train.evaluate.pictures`
samples users and measures pictures, `report.py` makes the tables, `figure.py` and `contact_sheet.py` the images.
`adapter_variants.py` trains the adapters of the ablation; `strength.py` is the command that chooses a strength.
"""

from train.evaluate.generation.run import main

__all__ = ["main"]
