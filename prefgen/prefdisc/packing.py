"""Packing: a history and several targets at several points of it, in one sequence.

Each target sees the preference tokens, the history up to its own point, and itself; never another target. One
forward then serves every target, and every length of history, at the cost of the history once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .template import Turns


@dataclass(frozen=True)
class Target:
    """A pair to be judged after the first `after` pairs of the history. Images: the first, then the second."""

    after: int
    prompt: str


@dataclass(frozen=True)
class Packed:
    """B packed sequences of S tokens (with P_v in front), right-padded.

    ids (B, S - L_p) token ids; positions (B, S); mask (B or 1, 1, S, S), 0 where attended and very negative elsewhere;
    reads (B, T, 2): where the labels of each target's two images are predicted; marks (B, n, 2): where the labels of
    each history pair's two images stand, in the order in which they are read. A user's images: history, then targets.

    Where users differ, T and n are the most that one of them has: `judged` (B, T) and `told` (B, n) say which targets
    and pairs are there. What is read at the places of others (all 0) means nothing. images: the most that a user has.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    reads: Tensor
    marks: Tensor
    judged: Tensor
    told: Tensor
    images: int

    def to(self, device: torch.device | str) -> Packed:
        """The same on another device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self) if field.name != "images"}
        return replace(self, **moved)

    def history_ends(self, turns: Turns) -> Tensor:
        """Where each user's last history token stands, whose states are their embedding: (B,). All users have n pairs,
        at least one."""
        return self.marks[:, -1, -1] - turns.label_offset - 1

    def disliked_first(self, features: Tensor) -> Tensor:
        """Features (B, images, ...) with the two images of every history pair exchanged; targets stay."""
        place = torch.arange(features.shape[1], device=features.device)
        in_history = place < 2 * self.told.sum(1, keepdim=True).to(place.device)
        rows = torch.arange(len(features), device=features.device)[:, None]
        return features[rows, torch.where(in_history, place ^ 1, place)]


def pack(turns: Turns, histories: Sequence[Sequence[str]], targets: Sequence[Sequence[Target]]) -> Packed:
    """Lay out one sequence a user.

    histories: for each user the prompts of their pairs, in order ("" where a pair has none). targets: for each user
    theirs. Users may differ in both numbers. Raises ValueError for a target after more pairs than there are.
    """
    rows = [_lay_out(turns, history, wanted) for history, wanted in zip(histories, targets, strict=True)]
    length = max(len(row.ids) for row in rows)
    extent = turns.spec.num_tokens + length
    # Users with the same shapes share one mask: in a training batch that is nearly always all of them.
    shared = all(row.shape == rows[0].shape for row in rows)
    masks = [_mask(row, extent) for row in (rows[:1] if shared else rows)]
    reads, judged = _even([row.reads for row in rows])
    marks, told = _even([row.marks for row in rows])
    return Packed(
        ids=torch.tensor([row.ids + [0] * (length - len(row.ids)) for row in rows]),
        positions=torch.tensor([row.positions + [0] * (extent - len(row.positions)) for row in rows]),
        mask=torch.stack(masks)[:, None],
        reads=reads,
        marks=marks,
        judged=judged,
        told=told,
        images=2 * max(len(row.reads) + len(row.marks) for row in rows),
    )


def _even(places: list[list[list[int]]]) -> tuple[Tensor, Tensor]:
    """Lists of pairs of places, one list a user -> (B, most, 2) with 0 where a user has fewer, and which are theirs."""
    most = max(map(len, places))
    filled = torch.tensor([[*own, *[[0, 0]] * (most - len(own))] for own in places], dtype=torch.long)
    there = torch.tensor([[True] * len(own) + [False] * (most - len(own)) for own in places], dtype=torch.bool)
    return filled.view(len(places), most, 2), there.view(len(places), most)


@dataclass
class _Row:
    """One user's sequence while it is being laid out. Segment 0 is the prefix; each target image is its own."""

    ids: list[int]
    positions: list[int]
    segments: list[int]
    limits: list[int]
    reads: list[list[int]]
    marks: list[list[int]]

    @property
    def shape(self) -> tuple:
        return tuple(self.segments), tuple(self.limits)


def _lay_out(turns: Turns, history: Sequence[str], targets: Sequence[Target]) -> _Row:
    offset = turns.spec.num_tokens
    ids = list(turns.opening)
    ends, marks = [offset + len(ids)], []
    for prompt in history:
        marks.append([])
        for liked in turns.in_order(True, False):
            ids += turns.rated(prompt, liked)
            marks[-1].append(offset + len(ids) + turns.label_offset)
        ends.append(offset + len(ids))
    prefix = offset + len(ids)
    row = _Row(ids, list(range(prefix)), [0] * prefix, [prefix] * prefix, [], marks)
    for target in targets:
        if not 0 <= target.after < len(ends):
            raise ValueError(f"a target after {target.after} pairs of a history of {len(history)}")
        turn, limit = turns.open(target.prompt), ends[target.after]
        row.reads.append([])
        for second in range(2):
            row.ids += turn
            row.positions += range(limit, limit + len(turn))
            row.segments += [2 * len(row.reads) - 1 + second] * len(turn)
            row.limits += [limit] * len(turn)
            row.reads[-1].append(offset + len(row.ids) - 1)
    return row


def _mask(row: _Row, extent: int) -> Tensor:
    """(S, S), additive. Padding sees itself only, which keeps its softmax finite, and nothing sees it."""
    padding = extent - len(row.segments)
    segments = torch.tensor(row.segments + [-1] * padding)
    limits = torch.tensor(row.limits + [0] * padding)
    index = torch.arange(extent)
    causal = index[None, :] <= index[:, None]
    in_prefix = (segments == 0)[None, :] & (index[None, :] < limits[:, None])
    own = segments[None, :] == segments[:, None]
    return torch.zeros(extent, extent).masked_fill(~(causal & (in_prefix | own)), torch.finfo(torch.float32).min)
