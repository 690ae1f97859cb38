"""What optimising the noise does for people it has never seen (method.md section 4, ReNO).

`rows.py` says what is compared and `setting.py` how the noise is optimised; `rewards.py` has the score that a row
climbs, `viper.py` trains the ViPer-like model, `painting.py` paints and keeps, `report.py` the tables, `picture.py` and
`sheet.py` what is to be looked at. `sweep.py` is the command that chooses a setting. People and measures are
`train.evaluate.pictures`.
"""

from train.evaluate.reno.run import main

__all__ = ["main"]
