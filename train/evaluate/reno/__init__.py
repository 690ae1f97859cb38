"""Evaluates optimised noise for unseen simulated users (docs/paper-index.md).

`conditions.py` lists what is compared, and `settings.py` how the noise is optimised. `rewards.py` has the rewards,
`viper.py` trains the ViPer-like model, `cached_generator.py` generates and caches pictures. `report.py` builds the
tables, `figure.py` and `contact_sheet.py` the images. `sweep.py` is the command that chooses the settings. Simulated
users and metrics are in `train.evaluate.pictures`.
"""

from train.evaluate.reno.run import main

__all__ = ["main"]
