"""Trains the pocket models. `python -m train.pocket` creates every weight file in `prefgen/pocket`."""
