"""How well the pocket PrefDisc predicts unseen users on unseen posters, beside what could be known at best."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prefgen.prefdisc.model import PrefDisc
from train.data.agents import World
from train.data.limits import ideal_observer
from train.pocket.prefdisc.sight import draw_posters, look
from train.pocket.prefdisc.users import PAIRS, Users, draw_users

SEED = 39
BATCH = 25


@torch.no_grad()
def measure(
    prefdisc: PrefDisc, world: World, users: int = 500, targets: int = 4, posters: int = 1200
) -> dict[str, float]:
    """Pairwise accuracy of `users` new users with 8 pairs, 4, none, and with somebody else's history, on posters of the
    test's combinations; the ideal observer's with 8 pairs and with none, and the true utility's."""
    prefdisc.eval()
    table = look(prefdisc, *draw_posters(posters, SEED, "test"), views=0)
    rng = np.random.default_rng(SEED)
    after = [PAIRS, PAIRS // 2, 0]
    right, gaps, ideal = [], [], {PAIRS: [], 0: []}
    for _ in range(0, users, BATCH):
        utilities, _ = world.sample(BATCH, rng)
        batch = draw_users(prefdisc.turns, table, world, utilities, [k for k in after for _ in range(targets)], rng)
        logits = prefdisc(batch.packed, batch.features).logits
        right.append(torch.stack([_right(logits, batch), _right(_mismatched(prefdisc, batch), batch)]))
        gaps.append((batch.probability > 0.5) == batch.chosen)
        for pairs, answers in ideal.items():
            wanted = slice(0, targets) if pairs else slice(2 * targets, None)
            predicted = ideal_observer(world, batch.history[:, :pairs], batch.targets[:, wanted], rng)
            answers.append((torch.from_numpy(predicted) > 0.5) == batch.chosen[:, wanted])
    ours, wrong = torch.cat(right, dim=1).float().unflatten(-1, (len(after), targets)).mean((1, 3))
    found = {
        **{f"accuracy_{k}": ours[i] for i, k in enumerate(after)},
        "accuracy_wrong_history": wrong[0],
        **{f"ideal_{k}": torch.cat(answers).float().mean() for k, answers in ideal.items()},
        "true_utility": torch.cat(gaps).float().mean(),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def _right(logits: Tensor, users: Users) -> Tensor:
    q = logits.softmax(-1)[..., 0]
    return (q[..., 0] > q[..., 1]) == users.chosen


def _mismatched(prefdisc: PrefDisc, users: Users) -> Tensor:
    """Logits with every user's history images exchanged for the next user's."""
    shown = 2 * PAIRS
    features = torch.cat([users.features[:, :shown].roll(1, 0), users.features[:, shown:]], dim=1)
    return prefdisc(users.packed, features).logits
