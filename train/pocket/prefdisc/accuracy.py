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
    """Pairwise accuracy of `users` new users with 8 pairs, 4, none, and with somebody else's history, on posters drawn
    for this test; the ideal observer's with 8 pairs and with none, and the true utility's. `sem_r2`, `core_r2`: how
    much of the users' taste a ridge regression reads from their embedding, on half of the users."""
    prefdisc.eval()
    table = look(prefdisc, *draw_posters(posters, SEED, "test"), views=0)
    rng = np.random.default_rng(SEED)
    after = [PAIRS, PAIRS // 2, 0]
    right, gaps, embeddings, tastes, ideal = [], [], [], [], {PAIRS: [], 0: []}
    for _ in range(0, users, BATCH):
        batch = draw_users(prefdisc.turns, table, world, BATCH, [k for k in after for _ in range(targets)], rng)
        states = prefdisc(batch.packed, batch.features, every_layer=True)
        right.append(torch.stack([_right(states.logits, batch), _right(_mismatched(prefdisc, batch), batch)]))
        gaps.append((batch.probability > 0.5) == batch.chosen)
        embeddings.append(torch.stack(states.layers)[:, torch.arange(BATCH), batch.packed.marks[:, -1, -1]])
        tastes.append(batch.taste)
        for pairs, answers in ideal.items():
            wanted = slice(0, targets) if pairs else slice(2 * targets, None)
            predicted = ideal_observer(world, batch.history[:, :pairs], batch.targets[:, wanted], rng, particles=20_000)
            answers.append((torch.from_numpy(predicted) > 0.5) == batch.chosen[:, wanted])
    ours, wrong = torch.cat(right, dim=1).float().unflatten(-1, (len(after), targets)).mean((1, 3))
    sem, core = ([*layers] for layers in (prefdisc.spec.sem_layers, prefdisc.spec.core_layers))
    states, taste = torch.cat(embeddings, dim=1), torch.cat(tastes)
    found = {
        **{f"accuracy_{k}": ours[i] for i, k in enumerate(after)},
        "accuracy_wrong_history": wrong[0],
        **{f"ideal_{k}": torch.cat(answers).float().mean() for k, answers in ideal.items()},
        "true_utility": torch.cat(gaps).float().mean(),
        "sem_r2": readable(states[sem].mean(0), taste),
        "core_r2": readable(states[core].mean(0), taste),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def readable(embeddings: Tensor, taste: Tensor, penalty: float = 1.0) -> float:
    """The share of the tastes' variance that ridge regression reads from embeddings (n, D), on the second half."""
    x = torch.cat([(embeddings - embeddings.mean(0)) / embeddings.std(0), torch.ones(len(embeddings), 1)], dim=1)
    half = len(x) // 2
    fitted = torch.linalg.solve(x[:half].T @ x[:half] + penalty * torch.eye(x.shape[1]), x[:half].T @ taste[:half])
    rest = taste[half:]
    return 1 - float((rest - x[half:] @ fitted).square().sum() / (rest - rest.mean(0)).square().sum())


def _right(logits: Tensor, users: Users) -> Tensor:
    q = logits.softmax(-1)[..., 0]
    return (q[..., 0] > q[..., 1]) == users.chosen


def _mismatched(prefdisc: PrefDisc, users: Users) -> Tensor:
    """Logits with every user's history images exchanged for the next user's."""
    shown = 2 * PAIRS
    features = torch.cat([users.features[:, :shown].roll(1, 0), users.features[:, shown:]], dim=1)
    return prefdisc(users.packed, features).logits
