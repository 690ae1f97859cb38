"""Trains the adapter (method.md section 3) through diffusers' UNet, which stays frozen.

`learner.py` makes keys and values of a batch of users, some of whom are dropped, `diffusion.py` is the loss, `start.py`
where the weights begin, `fit.py` the training. `sdxl.py` and `dataset.py` bring SDXL from a local folder and users from
a set on disk; the pocket's are in `train.pocket.projected`.
"""
