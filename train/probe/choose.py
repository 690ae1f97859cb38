"""Which layers make `sem` and `core`, from accuracy by layer.

PrefGen finds the top 4 of 32 layers for `sem` and 8 to 20 for `core`, where its probes are at their best; it does not
say how good is good enough. The rule is ours: a run of neighbouring layers about the best one, all within a margin of
it. `core` tells users apart (the inter-user probe); `sem` knows what is liked (the intra-user probe), and lies above.
"""

from __future__ import annotations

from collections.abc import Sequence

from train.evaluate.statistics import Estimate
from train.probe.classify import LayerAccuracy

SEM_SHARE, CORE_SHARE = 4 / 32, 13 / 32
"""Of the layers, at most (PrefGen's 4 and 13 of 32)."""


def choose_layers(found: LayerAccuracy) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers of sem and of core, as PrefDiscSpec has them: 1 is the first layer's output."""
    layers = len(found.inter) - 1
    sem = _about_the_best(found.intra, max(1, round(SEM_SHARE * layers)), upwards=True)
    core = _about_the_best(found.inter, max(1, round(CORE_SHARE * layers)))
    return sem, core


def defaults(layers: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """PrefGen's layers for a base of so many: for 32, the top 4, and 8 to 20."""
    sem = max(1, round(SEM_SHARE * layers))
    first, last = max(1, round(layers * 8 / 32)), max(1, round(layers * 20 / 32))
    return tuple(range(layers - sem + 1, layers + 1)), tuple(range(first, last + 1))


def _about_the_best(estimates: Sequence[Estimate], most: int, upwards: bool = False) -> tuple[int, ...]:
    """Neighbours of the best layer, none of them worse than it by more than its own 95 % interval's half width.

    The embedding (0) is no layer. upwards: of layers as good as the best, the highest counts as the best.
    """
    values = [estimate.value for estimate in estimates]
    order = range(1, len(values))
    best = max(order, key=lambda i: values[i])
    floor = values[best] - (estimates[best].high - estimates[best].low) / 2
    if upwards:
        best = max(i for i in order if values[i] >= floor)
    chosen = [best]
    while len(chosen) < most:
        beside = [i for i in (min(chosen) - 1, max(chosen) + 1) if i in order and values[i] >= floor]
        if not beside:
            break
        chosen.append(max(beside, key=lambda i: values[i]))
    return tuple(sorted(chosen))
