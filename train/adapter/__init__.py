"""Trains the preference adapter (paper index section 3) through a frozen diffusers UNet.

- `learner.py`: computes keys and values for a batch of users, with user dropout.
- `initialisation.py`: initialises the adapter from the UNet's text projections.
- `fit.py`: trains the adapter with the diffusion loss of `train/diffusion.py`.
- `sdxl.py`, `dataset.py`: load SDXL from a local folder, and users and images from a dataset on disk.

`train.pocket.projected_adapter` trains this adapter for the pocket models.
"""
