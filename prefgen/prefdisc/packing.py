"""Packs a history and several targets into one sequence for training.

Each target attends to the preference tokens, to the history before it and to itself, never to another target. One
forward pass then serves every target and every history length, at the cost of one pass over the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .template import ChatTemplate


@dataclass(frozen=True)
class Target:
    """A pair of images to judge with part of the history as context. The first image comes before the second.

    Attributes:
        num_pairs: Number of history pairs, counted from the first, that the target sees.
        prompt: Prompt of both images.
    """

    num_pairs: int
    prompt: str


@dataclass(frozen=True)
class PackedBatch:
    """B right-padded sequences of S tokens, one for each user. The L_p preference tokens come first.

    A user's images come in this order: history pairs, then targets. Features are passed with the liked image of a pair
    first; `order_features` brings them into the order in which the turns read them. Users may have different numbers
    of targets and pairs; T and n are the largest, and `has_target` and `has_pair` mark the existing ones. Positions of
    absent ones are 0, and values read there are meaningless.

    Attributes:
        ids: Token ids, (B, S - L_p).
        positions: Position ids, (B, S).
        mask: Additive attention mask, (B, 1, S, S), or (1, 1, S, S) if all users share it.
        prediction_positions: Positions that predict the labels of each target's two images, (B, T, 2).
        label_positions: Positions of the labels of each history pair's two images, in reading order, (B, n, 2).
        has_target: Which targets exist, (B, T).
        has_pair: Which history pairs exist, (B, n).
        swapped: History pairs whose disliked image is read first, (B, n). Stays on the CPU.
        num_images: Largest number of images of one user.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    prediction_positions: Tensor
    label_positions: Tensor
    has_target: Tensor
    has_pair: Tensor
    swapped: Tensor
    num_images: int

    def to(self, device: torch.device | str) -> PackedBatch:
        """Return a copy of the batch on another device."""
        tensors = [field.name for field in fields(self) if field.name not in ("swapped", "num_images")]
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    def history_end_positions(self, template: ChatTemplate) -> Tensor:
        """Return the position (B,) of each user's last history token, whose states are the user embedding.

        All users must have the same number of pairs, at least one.
        """
        return self.label_positions[:, -1, -1] - template.label_offset - 1

    def order_features(self, features: Tensor) -> Tensor:
        """Put features (B, images, ...) into reading order: swap the images of swapped pairs. Targets stay in place."""
        if not self.swapped.any():
            return features
        index = torch.arange(features.shape[1]).repeat(len(features), 1)
        index[:, : 2 * self.swapped.shape[1]] ^= self.swapped.repeat_interleave(2, dim=1)
        rows = torch.arange(len(features), device=features.device)[:, None]
        return features[rows, index.to(features.device)]


@dataclass(frozen=True)
class PackedStates:
    """Output of one forward pass over a packed batch.

    Attributes:
        logits: (M+, M-) of each target's first and second image, (B, T, 2, 2). Meaningless where
            `PackedBatch.has_target` is False.
        hidden: States of the last layer, (B, S, D).
        layers: States of the embedding and of every layer, each (B, S, D), if requested.
    """

    logits: Tensor
    hidden: Tensor
    layers: tuple[Tensor, ...] = ()


def pack(
    template: ChatTemplate,
    histories: Sequence[Sequence[str]],
    targets: Sequence[Sequence[Target]],
    swapped: Sequence[Sequence[bool]] | None = None,
) -> PackedBatch:
    """Lay out one sequence for each user.

    Args:
        template: The chat template of the preference model.
        histories: Prompts of each user's pairs, in order; "" for a pair without a prompt.
        targets: Targets of each user. Users may differ in both numbers.
        swapped: Whether each history pair's disliked image is read first. None: the template's order for all.

    Raises:
        ValueError: A target asks for more pairs than the history has.
    """
    if swapped is None:
        swapped = [[template.spec.disliked_first] * len(history) for history in histories]
    rows = [_lay_out(template, *user) for user in zip(histories, targets, swapped, strict=True)]
    length = max(len(row.ids) for row in rows)
    total_length = template.spec.num_tokens + length
    # Users with equal layouts share one mask. In a training batch that is nearly always all of them.
    shared = all(row.layout == rows[0].layout for row in rows)
    masks = [_attention_mask(row, total_length) for row in (rows[:1] if shared else rows)]
    prediction_positions, has_target = _pad([row.prediction_positions for row in rows])
    label_positions, has_pair = _pad([row.label_positions for row in rows])
    return PackedBatch(
        ids=torch.tensor([row.ids + [0] * (length - len(row.ids)) for row in rows]),
        positions=torch.tensor([row.positions + [0] * (total_length - len(row.positions)) for row in rows]),
        mask=torch.stack(masks)[:, None],
        prediction_positions=prediction_positions,
        label_positions=label_positions,
        has_target=has_target,
        has_pair=has_pair,
        swapped=_pad([[[int(own)] * 2 for own in user] for user in swapped])[0][..., 0].bool(),
        num_images=2 * max(len(row.prediction_positions) + len(row.label_positions) for row in rows),
    )


def _pad(positions: list[list[list[int]]]) -> tuple[Tensor, Tensor]:
    """Pad each user's list of position pairs with zeros to (B, longest, 2), and mark the real ones (B, longest)."""
    longest = max(map(len, positions))
    padded = torch.tensor([[*row, *[[0, 0]] * (longest - len(row))] for row in positions], dtype=torch.long)
    exists = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in positions], dtype=torch.bool)
    return padded.view(len(positions), longest, 2), exists.view(len(positions), longest)


@dataclass
class _Row:
    """A user's sequence during layout.

    `segments` is 0 for history tokens and a separate number for each target image; `limits` is the number of leading
    tokens that each token may attend to outside its own segment.
    """

    ids: list[int]
    positions: list[int]
    segments: list[int]
    limits: list[int]
    prediction_positions: list[list[int]]
    label_positions: list[list[int]]

    @property
    def layout(self) -> tuple:
        return tuple(self.segments), tuple(self.limits)


def _lay_out(
    template: ChatTemplate, history: Sequence[str], targets: Sequence[Target], swapped: Sequence[bool]
) -> _Row:
    offset = template.spec.num_tokens
    ids = list(template.opening_ids)
    pair_ends, label_positions = [offset + len(ids)], []
    for prompt, disliked_first in zip(history, swapped, strict=True):
        label_positions.append([])
        for liked in (not disliked_first, disliked_first):
            ids += template.labelled_turn(prompt, liked, first=not any(label_positions))
            label_positions[-1].append(offset + len(ids) + template.label_offset)
        pair_ends.append(offset + len(ids))
    prefix = offset + len(ids)
    row = _Row(ids, list(range(prefix)), [0] * prefix, [prefix] * prefix, [], label_positions)
    for target in targets:
        if not 0 <= target.num_pairs < len(pair_ends):
            raise ValueError(f"target.num_pairs is {target.num_pairs}; expected 0 to {len(history)}.")
        turn, limit = template.unlabelled_turn(target.prompt, not target.num_pairs), pair_ends[target.num_pairs]
        row.prediction_positions.append([])
        for second in range(2):
            row.ids += turn
            row.positions += range(limit, limit + len(turn))
            row.segments += [2 * len(row.prediction_positions) - 1 + second] * len(turn)
            row.limits += [limit] * len(turn)
            row.prediction_positions[-1].append(offset + len(row.ids) - 1)
    return row


def _attention_mask(row: _Row, length: int) -> Tensor:
    """Return the additive mask (S, S). Padding attends only to itself, which keeps its softmax finite."""
    padding = length - len(row.segments)
    segments = torch.tensor(row.segments + [-1] * padding)
    limits = torch.tensor(row.limits + [0] * padding)
    index = torch.arange(length)
    causal = index[None, :] <= index[:, None]
    in_prefix = (segments == 0)[None, :] & (index[None, :] < limits[:, None])
    same_segment = segments[None, :] == segments[:, None]
    visible = causal & (in_prefix | same_segment)
    return torch.zeros(length, length).masked_fill(~visible, torch.finfo(torch.float32).min)
