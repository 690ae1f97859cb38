"""Values as people and other nodes give them."""

import numpy as np
import pytest

from prefgen.reno import RenoConfig
from prefgen.validation import matches_type


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (np.int64(3), int, True),
        (np.float32(0.5), float, True),
        (3, float, True),
        (0.5, int, False),
        (True, int, False),
        (True, bool, True),
        ((1, 2), tuple[int, ...], True),
        ((1, 2), tuple[int, int, int], False),
        (None, int | None, True),
    ],
)
def test_a_value_fits_a_type(value, kind, expected):
    assert matches_type(value, kind) == expected


def test_an_optimisation_takes_numbers_of_numpy():
    config = RenoConfig(np.int64(3), np.float32(0.5))
    assert (config.iterations, config.learning_rate) == (3, 0.5)
