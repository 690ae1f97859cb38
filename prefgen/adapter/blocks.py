"""Weights of the UNet's cross-attention blocks: presets and custom lists."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..errors import ModelError, PrefGenError
from ..validation import format_value, require_choice, require_text

PRESETS: Mapping[str, tuple[str, ...]] = {
    "all": ("",),
    "style": ("output.1",),
    "composition": ("input.8",),
}
"""Preset -> prefixes of the blocks that have weight 1. InstantStyle (arXiv 2404.02733) found the two blocks that carry
the style and the composition of a reference image in SDXL: up_blocks.0.attentions.1 and down_blocks.2.attentions.1 in
diffusers."""

MAX_STRENGTH = 4.0
"""Maximum strength and maximum block weight. The limit is our choice."""


def parse_block_weights(blocks: Sequence[str], preset: str = "all", text: str = "") -> dict[str, float]:
    """Return the weight of every block.

    Args:
        blocks: Names such as ``input.4.0``, in the UNet's order.
        preset: Name of a preset. Blocks outside it have weight 0.
        text: Custom weights, or empty. Either one number for each layer, in the UNet's order (SDXL has 11: input.4, 5,
            7, 8, middle.0 and output.0 to 5), or ``name=weight, ...``, for example ``input=0.5, input.8=1``. A name is
            that of a block or a prefix of several; the longest match counts. Other blocks follow the preset.

    Raises:
        PrefGenError: The preset is unknown, or the text cannot be parsed.
        ModelError: No block has this name.
    """
    require_text(text, "block_weights")
    require_choice("blocks", preset, PRESETS)
    weights = dict.fromkeys(PRESETS[preset], 1.0)
    entries = [entry.strip() for entry in text.replace("\n", ",").split(",") if entry.strip()]
    named = any("=" in entry for entry in entries)
    parsed = [_parse_entry(entry, named) for entry in entries]
    layers = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in blocks))
    if parsed and not named:
        if len(parsed) != len(layers):
            raise PrefGenError(f"block_weights has {len(parsed)} numbers; expected {len(layers)}, one for each layer.")
        parsed = [(layer, weight) for layer, (_, weight) in zip(layers, parsed, strict=True)]
    weights |= dict(parsed)
    repeated = [name for name, count in Counter(name for name, _ in parsed).items() if count > 1]
    if repeated:
        raise PrefGenError(f"block_weights has {format_value(repeated[0])} more than once; expected each name once.")
    unknown = [prefix for prefix in weights if not any(_matches(name, prefix) for name in blocks)]
    if unknown:
        raise ModelError(f"block_weights has {format_value(unknown[0])}; expected blocks of {', '.join(blocks)}.")
    return {name: weights[max(matches, key=len)] if (matches := _prefixes(name, weights)) else 0.0 for name in blocks}


def _parse_entry(entry: str, named: bool) -> tuple[str, float]:
    """Parse ``name=weight``, or a weight alone if entries are not named."""
    name, _, weight = (part.strip() for part in entry.rpartition("="))
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_STRENGTH or bool(name) != named:
        expected = f"{'name=' * named}weight with a weight from 0 to {MAX_STRENGTH:g}"
        raise PrefGenError(f"block_weights has {format_value(entry)}; expected {expected}.")
    return name, value


def _prefixes(name: str, prefixes: Iterable[str]) -> list[str]:
    return [prefix for prefix in prefixes if _matches(name, prefix)]


def _matches(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")
