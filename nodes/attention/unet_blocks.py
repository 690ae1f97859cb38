"""Lists the cross-attention blocks of an SDXL UNet, and checks that an adapter was trained for them."""

from __future__ import annotations

import comfy.model_base
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.model_patcher import ModelPatcher

from ...prefgen.adapter import AdapterConfig
from ...prefgen.errors import ModelError


def cross_attention_blocks(model: ModelPatcher) -> tuple[tuple[str, int], ...]:
    """Return (name, width) of every cross-attention block of the MODEL, as in ``AdapterConfig.blocks``.

    Raises:
        ModelError: The MODEL is not an SDXL UNet.
    """
    if not isinstance(model.model, comfy.model_base.SDXL):
        architecture = type(model.model.model_config).__name__
        raise ModelError(f"The MODEL is {architecture}; expected SDXL. Connect an SDXL checkpoint.")
    unet = model.model.diffusion_model
    sides = {"input": unet.input_blocks, "middle": [unet.middle_block], "output": unet.output_blocks}
    return tuple(
        (f"{side}.{number}.{index}", block.n_heads * block.d_head)
        for side, modules in sides.items()
        for number, module in enumerate(modules)
        for layer in module
        if isinstance(layer, SpatialTransformer)
        for index, block in enumerate(layer.transformer_blocks)
    )


def require_fit(model: ModelPatcher, config: AdapterConfig) -> None:
    """Raise ModelError unless the MODEL is an SDXL UNet with the shapes for which the adapter was trained."""
    blocks = dict(cross_attention_blocks(model))
    context_dim = model.model.model_config.unet_config["context_dim"]
    if blocks != dict(config.blocks) or context_dim != config.context_dim:
        raise ModelError(
            f"The MODEL has {_describe(blocks, context_dim)}; expected "
            f"{_describe(dict(config.blocks), config.context_dim)}. Use the base model of the adapter."
        )


def _describe(blocks: dict[str, int], context_dim: int) -> str:
    widths = "/".join(str(width) for width in sorted(set(blocks.values())))
    return f"{len(blocks)} cross-attention blocks (width {widths}) and a text width of {context_dim}"
