"""How much each cross-attention block takes of the user: a named preset, and a list for those who want to say more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from ..errors import ModelError, PrefGenError
from ..validation import format_value

PRESETS: Mapping[str, tuple[str, ...]] = {
    "all": ("",),
    "style": ("output.1",),
    "composition": ("input.8",),
}
"""Preset -> the blocks it keeps, by the beginnings of their names. The two that carry a reference image's style and its
composition in SDXL are InstantStyle's finding (arXiv 2404.02733; up_blocks.0.attentions.1 and
down_blocks.2.attentions.1 in diffusers' names)."""

STRONGEST = 4.0
"""The highest weight of a block, as of every strength (default ours)."""


def block_weights(blocks: Iterable[str], preset: str = "all", listed: str = "") -> dict[str, float]:
    """A weight for every block, 0 where the preset leaves it out.

    blocks: names such as `input.4.0`. listed: empty, or in place of the preset's weights either one number a layer, in
    the UNet's order (SDXL: 11, for input.4, 5, 7, 8, middle.0 and output.0 to 5), or `name=weight, ...`, where a name
    may be a block's or the beginning of several, and the longest that fits counts: `input=0.5, input.8=1`. Blocks that
    the list does not name keep the preset's weight.

    Raises:
        PrefGenError: no such preset, or a list that cannot be read, has a weight outside 0 to STRONGEST, a name twice,
            or another number of weights than there are layers.
        ModelError: a name that no block has.
    """
    names = list(blocks)
    if not isinstance(listed, str):
        raise PrefGenError(
            f"block_weights is {format_value(listed)}, expected text: write input=0.5, or leave it empty."
        )
    if preset not in PRESETS:
        raise PrefGenError(f"Found the preset {preset!r} of blocks, expected one of {', '.join(PRESETS)}: choose one.")
    weights = dict.fromkeys(PRESETS[preset], 1.0)
    entries = [entry.strip() for entry in listed.replace("\n", ",").split(",") if entry.strip()]
    if any("=" in entry for entry in entries):
        named = [_named(entry) for entry in entries]
        name, times = Counter(name for name, _ in named).most_common(1)[0]
        if times > 1:
            raise PrefGenError(f"The block weights name {format_value(name)} {times} times: give each name one weight.")
        weights |= dict(named)
    elif entries:
        layers = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in names))
        if len(entries) != len(layers):
            raise PrefGenError(
                f"Found {len(entries)} block weights for {len(layers)} layers ({', '.join(layers)}), expected one a "
                "layer: give as many, or name them (input.8=1)."
            )
        weights |= {layer: _weight(entry) for layer, entry in zip(layers, entries, strict=True)}
    for start in weights:
        if not any(_begins(name, start) for name in names):
            raise ModelError(
                f"No block of this adapter is named {format_value(start)}; it has {', '.join(names)}: correct the list."
            )
    return {name: weights[fits[-1]] if (fits := _fitting(name, weights)) else 0.0 for name in names}


def _fitting(name: str, starts: Iterable[str]) -> list[str]:
    return sorted((start for start in starts if _begins(name, start)), key=len)


def _begins(name: str, start: str) -> bool:
    return not start or name == start or name.startswith(f"{start}.")


def _named(entry: str) -> tuple[str, float]:
    name, equals, weight = entry.partition("=")
    if not equals:
        raise PrefGenError(
            f"The block weight {format_value(entry)} has no name, and others have: name all of them, or none."
        )
    if not name.strip():
        raise PrefGenError(f"The block weight {format_value(entry)} names no block: write input.8=0.5.")
    return name.strip(), _weight(weight.strip() or entry)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= STRONGEST:
        raise PrefGenError(
            f"The block weight {format_value(text)} is no number from 0 to {STRONGEST:g}: write 0.5, or name=0.5."
        )
    return weight
