"""Trains the alignment (method.md section 3): the MLP that takes a part of the user embedding into CLIP text space.

`table.py` holds users with their texts, `crowds.py` says who is compared with whom, `objectives.py` has MMD and the two
point-wise losses of the ablation, `collapse.py` notices early where everybody is mapped to one place, `fit.py` trains
and `measure.py` measures. The pocket's table is made in `train.pocket.align`, a set's on disk in `sources.py`.
"""
