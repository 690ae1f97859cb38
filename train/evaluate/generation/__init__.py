"""What the personalised generator paints for people it has never seen (method.md section 3, PrefBench).

`rows.py` says what is compared, `painting.py` paints it, `train.evaluate.pictures` draws the people and measures a row,
`report.py` makes the tables, `picture.py` and `sheet.py` what is to be looked at. `variants.py` trains the ablation's
adapters, `strength.py` is the command that chooses a strength.
"""

from train.evaluate.generation.run import main

__all__ = ["main"]
