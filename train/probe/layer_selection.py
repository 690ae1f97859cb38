"""Selects the layers of `sem` and `core` by the accuracy of the probes on each layer.

PrefGen uses the top 4 of 32 layers for `sem` and layers 8 to 20 for `core`, where its probes are most accurate. It
gives no threshold. We choose the best layer and neighbours whose accuracy is within a margin of the best layer's. The
layers of `core` distinguish users (inter-user probe). The layers of `sem` distinguish liked from disliked images
(intra-user probe) and are higher.
"""

from __future__ import annotations

from collections.abc import Sequence

from train.evaluate.statistics import Estimate
from train.probe.linear_probe import LayerAccuracy

SEM_SHARE, CORE_SHARE = 4 / 32, 13 / 32
"""Maximum share of the layers that is selected for `sem` and for `core` (PrefGen: 4 and 13 of 32)."""


def select_layers(accuracy: LayerAccuracy) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the layers of sem and of core. 1 is the output of the first layer, as in `PrefDiscSpec`."""
    layers = len(accuracy.inter) - 1
    sem = _best_neighbours(accuracy.intra, max(1, round(SEM_SHARE * layers)), prefer_higher=True)
    core = _best_neighbours(accuracy.inter, max(1, round(CORE_SHARE * layers)))
    return sem, core


def default_layers(layers: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return PrefGen's sem and core layers, scaled to a number of layers. For 32 layers: the top 4, and 8 to 20."""
    sem = max(1, round(SEM_SHARE * layers))
    first, last = max(1, round(layers * 8 / 32)), max(1, round(layers * 20 / 32))
    return tuple(range(layers - sem + 1, layers + 1)), tuple(range(first, last + 1))


def _best_neighbours(estimates: Sequence[Estimate], max_count: int, prefer_higher: bool = False) -> tuple[int, ...]:
    """Select the best layer, and neighbours within half the width of the best layer's 95 % interval.

    Args:
        estimates: Accuracy on each layer. Index 0 is the embedding, which is never selected.
        max_count: Maximum number of layers.
        prefer_higher: Whether to start from the highest layer within the margin instead of the best one.
    """
    values = [estimate.value for estimate in estimates]
    layers = range(1, len(values))
    best = max(layers, key=lambda i: values[i])
    minimum = values[best] - (estimates[best].high - estimates[best].low) / 2
    if prefer_higher:
        best = max(i for i in layers if values[i] >= minimum)
    selected = [best]
    while len(selected) < max_count:
        neighbours = [i for i in (min(selected) - 1, max(selected) + 1) if i in layers and values[i] >= minimum]
        if not neighbours:
            break
        selected.append(max(neighbours, key=lambda i: values[i]))
    return tuple(sorted(selected))
