"""Trains the pocket models: `python -m train.pocket` makes every weight file that `prefgen/pocket` ships."""
