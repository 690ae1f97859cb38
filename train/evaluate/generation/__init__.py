"""What the personalised generator paints for people it has never seen (METHOD.md section 3, PrefBench).

`agents.py` draws the people and what is asked of the generator, `rows.py` says what is compared, `painting.py` paints
it, `measures.py` has the mathematics, `eyes.py` the pocket CLIP's features, `measuring.py` measures a row, `report.py`
the tables, `picture.py` and `sheet.py` what is to be looked at. `variants.py` trains the ablation's adapters,
`strength.py` is the command that chooses a strength.
"""

from train.evaluate.generation.run import main

__all__ = ["main"]
