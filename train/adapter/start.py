"""Where the adapter's keys and values begin: as the text's own, which the UNet already understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prefgen.adapter import PreferenceAdapter, diffusers_block_name

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


@torch.no_grad()
def start_from_text(adapter: PreferenceAdapter, unet: UNet2DConditionModel) -> None:
    """Copy every block's K and V of the text into the user's, in place (as IP-Adapter does)."""
    layers = unet.config.layers_per_block
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            text = unet.get_submodule(name.removesuffix(".processor"))
            user = adapter.blocks[diffusers_block_name(name, layers).replace(".", "_")]
            user.to_k.weight.copy_(text.to_k.weight)
            user.to_v.weight.copy_(text.to_v.weight)
