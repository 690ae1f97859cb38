"""The splits of the combinations: nothing that a test shows was trained on."""

import numpy as np
import pytest

from train.data.posters import ATTRIBUTES, SPLITS, combinations, draw_combinations


def test_the_splits_are_every_combination_once():
    parts = [set(map(tuple, combinations(split).reshape(-1, 6).tolist())) for split in SPLITS]
    assert len(set.union(*parts)) == sum(map(len, parts)) == np.prod([len(v) for v in ATTRIBUTES.values()])


@pytest.mark.parametrize("split", SPLITS)
def test_every_value_is_in_every_split(split):
    for i, values in enumerate(ATTRIBUTES.values()):
        assert len(np.unique(combinations(split)[..., i])) == len(values)


def test_draws_stay_in_their_split():
    known = set(map(tuple, combinations("test").reshape(-1, 6).tolist()))
    drawn = draw_combinations(240, "test", np.random.default_rng(0))
    assert set(map(tuple, drawn.tolist())) <= known
    assert (drawn[:, 0] == np.arange(240) % 12).all()


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="split is 'holdout'"):
        combinations("holdout")
