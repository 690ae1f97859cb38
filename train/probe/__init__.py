"""Tests which layers of a frozen PrefDisc encode the user and liked images (paper index section 3).

- `hidden_states.py`: collects the last-token states of every layer.
- `linear_probe.py`: classifies the states.
- `layer_selection.py`: selects the layers of `sem` and `core`.
- `plot.py`: plots the accuracy on each layer.
- `users.py`: samples simulated users, or reads users from a dataset on disk.
"""
