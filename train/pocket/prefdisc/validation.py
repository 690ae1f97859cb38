"""Measures the accuracy of a PrefDisc on validation users and posters, to select settings.

`train.evaluate.prediction` measures the reported accuracies on test users and posters.
"""

from __future__ import annotations

import numpy as np
import torch

from prefgen.prefdisc.model import PrefDisc
from train.data.agents import World
from train.data.limits import ideal_observer
from train.pocket.prefdisc.user_batches import PAIRS, sample_user_batch
from train.pocket.prefdisc.vision_training import draw_posters, encode_posters

SEED = 39
BATCH = 50


@torch.no_grad()
def validate(
    prefdisc: PrefDisc, world: World, users: int = 1000, targets: int = 4, posters: int = 2304
) -> dict[str, float]:
    """Measure pairwise accuracies.

    Returns:
        "accuracy_8" and "accuracy_0": the model's accuracy with 8 history pairs and without history. "ideal_8" and
        "ideal_0": the same for the ideal observer. "share": (accuracy_8 - ideal_0) / (ideal_8 - ideal_0), the share of
        the ideal observer's gain from the history that the model reaches.
    """
    prefdisc.eval()
    table = encode_posters(prefdisc, *draw_posters(posters, SEED, "validation"), views=0)
    rng = np.random.default_rng(SEED)
    right = {f"{who}_{pairs}": [] for who in ("accuracy", "ideal") for pairs in (PAIRS, 0)}
    for _ in range(0, users, BATCH):
        utilities, _ = world.sample(BATCH, rng)
        after = [PAIRS] * targets + [0] * targets
        batch = sample_user_batch(prefdisc.template, table, world, utilities, after, rng)
        q = prefdisc(batch.packed, batch.features).logits.softmax(-1)[..., 0]
        for part, pairs in ((slice(0, targets), PAIRS), (slice(targets, None), 0)):
            ideal = ideal_observer(world, batch.history[:, :pairs], batch.targets[:, part], rng)
            chosen = batch.chosen[:, part]
            right[f"accuracy_{pairs}"].append((q[:, part, 0] > q[:, part, 1]) == chosen)
            right[f"ideal_{pairs}"].append((torch.from_numpy(ideal) > 0.5) == chosen)
    metrics = {name: float(torch.cat(parts).float().mean()) for name, parts in right.items()}
    gain, ideal_gain = (metrics[f"{who}_{PAIRS}"] - metrics["ideal_0"] for who in ("accuracy", "ideal"))
    metrics["share"] = gain / ideal_gain
    return {name: round(value, 4) for name, value in metrics.items()}
