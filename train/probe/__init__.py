"""Probes the layers of a frozen PrefDisc (paper index section 3) for the user's identity and for liked images.

- `hidden_states.py`: collects the last-token states of every layer.
- `linear_probe.py`: classifies the states.
- `layer_selection.py`: selects the layers of `sem` and `core`.
- `plot.py`: plots accuracy by layer.
- `users.py`: simulated users, or the users of a dataset on disk.
"""
