"""Trains the alignment (paper index section 3): an MLP that maps a part of the user embedding into CLIP text space.

- `user_table.py`: stores the embeddings and the texts of users in a table.
- `dataset.py`: builds the table from a dataset on disk. `train.pocket.align` builds it from simulated users.
- `similar_users.py`: samples the groups of users that MMD compares.
- `objectives.py`: defines MMD, and the two pointwise losses of the ablation.
- `collapse.py`: detects alignments that map all users to nearly the same point.
- `fit.py`, `metrics.py`: train and evaluate the alignment.
"""
