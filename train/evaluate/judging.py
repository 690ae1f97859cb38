"""PrefDisc over trials, in packed batches: a history is read once, and all of a user's targets after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.prefdisc.model import PackedStates, PrefDisc
from prefgen.prefdisc.packing import Packed, Target, pack
from train.evaluate.trials import Gallery

BATCH = 50
"""Users in one forward (default ours): some 15,000 tokens of the pocket model."""


@dataclass(frozen=True)
class Seen:
    """A PrefDisc and a gallery as it sees it: features (N, latents, D). words: name the prompts in the turns."""

    prefdisc: PrefDisc
    gallery: Gallery
    features: Tensor
    words: bool = True


def q_of(logits: Tensor) -> np.ndarray:
    """Q = exp M+ / (exp M+ + exp M-): logits (..., 2) -> (...)."""
    return logits.softmax(-1)[..., 0].numpy()


def judge(seen: Seen, history: np.ndarray, targets: np.ndarray, desc: str = "") -> np.ndarray:
    """Q of every target: history (n, k, 2) and targets (n, m, c) are rows of the gallery, c even -> (n, m, c)."""
    return judge_after(seen, history, targets, [history.shape[1]], desc)[0]


def judge_after(seen: Seen, history: np.ndarray, targets: np.ndarray, points: list[int], desc: str = "") -> np.ndarray:
    """Q of every target after so many of the history's pairs, for every one of `points`: (points, n, m, c).

    One forward serves all points. c is even: a packed target is two images.
    """
    n, m, c = targets.shape
    pairs = np.tile(targets.reshape(n, m * c // 2, 2), (1, len(points), 1))
    after = np.repeat(points, m * c // 2).tolist()
    parts = [states.logits.float().cpu() for states, _ in forward(seen, history, pairs, after, desc=desc)]
    return q_of(torch.cat(parts)).reshape(n, len(points), m, c).swapaxes(0, 1)


def judge_alone(seen: Seen, desc: str = "with no history") -> np.ndarray:
    """Q of every poster of the gallery with no history at all: (N,). It is nobody's: a no-history score has no user."""
    pairs = np.arange(len(seen.gallery.attributes)).reshape(-1, 1, 2)
    parts = [states.logits.float().cpu() for states, _ in forward(seen, pairs[:, :0], pairs, [0], desc=desc)]
    return q_of(torch.cat(parts)).reshape(-1)


def states_at_targets(seen: Seen, history: np.ndarray, rows: np.ndarray, desc: str = "") -> np.ndarray:
    """The last layer's states where the labels of targets are predicted: rows (n, m), after all pairs -> (n, m, D)."""
    # A packed target is two images; each is here with itself, and sees itself alone.
    pairs, after = np.stack([rows, rows], axis=-1), [history.shape[1]] * rows.shape[1]
    found = []
    for states, packed in forward(seen, history, pairs, after, desc=desc):
        users = torch.arange(len(packed.reads), device=states.hidden.device)[:, None]
        found.append(states.hidden[users, packed.reads[..., 0]].float().cpu())
    return torch.cat(found).numpy()


def sem_of(seen: Seen, history: np.ndarray, desc: str = "reading histories") -> np.ndarray:
    """The users' `sem` embeddings (see prefgen.embedding): the mean over the checkpoint's sem layers of the states of
    the last history token. history (n, k, 2), k at least 1 -> (n, D)."""
    found = []
    for states, packed in forward(seen, history, history[:, :1], [0], every_layer=True, desc=desc):
        last = packed.history_ends(seen.prefdisc.turns)
        users = torch.arange(len(last), device=last.device)
        layers = torch.stack([states.layers[i][users, last] for i in seen.prefdisc.spec.sem_layers])
        found.append(layers.mean(0).float().cpu())
    return torch.cat(found).numpy()


@torch.no_grad()
def forward(
    seen: Seen,
    history: np.ndarray,
    pairs: np.ndarray,
    after: list[int],
    every_layer: bool = False,
    desc: str = "",
) -> Iterator[tuple[PackedStates, Packed]]:
    """The packed forward of every batch of users. history (n, k, 2), pairs (n, T, 2): rows of the gallery. after: the
    number of pairs that each of the T targets comes after."""
    device = seen.prefdisc.device
    seen.prefdisc.eval()
    for start in tqdm(range(0, len(history), BATCH), desc=desc, unit_scale=BATCH, unit="users", mininterval=2):
        past, wanted = history[start : start + BATCH], pairs[start : start + BATCH]
        packed = pack(seen.prefdisc.turns, _histories(seen, past), _targets(seen, wanted, after)).to(device)
        rows = torch.from_numpy(np.concatenate([past, wanted], axis=1).reshape(len(past), -1))
        yield seen.prefdisc(packed, seen.features[rows].to(device, seen.prefdisc.dtype), every_layer), packed


def _histories(seen: Seen, rows: np.ndarray) -> list[list[str]]:
    return [_prompts(seen, user) for user in rows]


def _targets(seen: Seen, rows: np.ndarray, after: list[int]) -> list[list[Target]]:
    return [list(map(Target, after, _prompts(seen, user))) for user in rows]


def _prompts(seen: Seen, pairs: np.ndarray) -> list[str]:
    """Of pairs (k, 2): each its own subject's, or none in a variant that reads no prompts."""
    return seen.gallery.prompts(pairs[:, 0]).tolist() if seen.words else [""] * len(pairs)
