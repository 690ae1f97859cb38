"""Initialises the adapter's keys and values from the UNet's text cross-attention, as IP-Adapter does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prefgen.adapter import PreferenceAdapter, diffusers_block_name

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


@torch.no_grad()
def initialise_from_text(adapter: PreferenceAdapter, unet: UNet2DConditionModel) -> None:
    """Copy the text K and V projections of every cross-attention block into the adapter, in place."""
    layers = unet.config.layers_per_block
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            attention = unet.get_submodule(name.removesuffix(".processor"))
            block = adapter.blocks[diffusers_block_name(name, layers).replace(".", "_")]
            block.to_k.weight.copy_(attention.to_k.weight)
            block.to_v.weight.copy_(attention.to_v.weight)
