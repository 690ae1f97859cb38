"""The adapter in a diffusers UNet, for training. ComfyUI's side uses the same weights and block names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from ..errors import ModelError
from .attention import decoupled_attention
from .model import KeysValues, PreferenceAdapter

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

_PROCESSOR = re.compile(
    r"(?P<side>down_blocks|up_blocks|mid_block)(?:\.(?P<level>\d+))?\.attentions\.(?P<block>\d+)"
    r"\.transformer_blocks\.(?P<layer>\d+)\.attn2\.processor"
)


def diffusers_block_name(processor_name: str, layers_per_block: int = 2) -> str:
    """Return ComfyUI's name of a diffusers attention processor.

    ``down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor`` is ComfyUI's ``input.4.0``.

    Raises:
        ModelError: The name is not that of a cross-attention processor of a UNet.
    """
    match = _PROCESSOR.fullmatch(processor_name)
    if match is None:
        raise ModelError(f"{processor_name!r} is not a cross-attention processor of a diffusers UNet.")
    if match["side"] == "mid_block":
        return f"middle.0.{match['layer']}"
    number = (layers_per_block + 1) * int(match["level"]) + int(match["block"])
    if match["side"] == "up_blocks":
        return f"output.{number}.{match['layer']}"
    # ComfyUI counts the UNet's first convolution as input block 0.
    return f"input.{number + 1}.{match['layer']}"


class UserBranch:
    """The user's keys and values for the next forward of a UNet.

    They are computed once for the forward, with their gradient; every block takes its own.
    """

    def __init__(self, adapter: PreferenceAdapter) -> None:
        self._adapter = adapter
        self._keys_values: KeysValues = {}

    @contextmanager
    def users(self, tokens: Tensor) -> Iterator[None]:
        """Let the UNet attend to these user tokens within the context.

        Args:
            tokens: (B, T, context_dim), one row for each row of the UNet's input. A row of zeros has no effect.
        """
        with self.keys_values(self._adapter.keys_values(tokens)):
            yield

    @contextmanager
    def keys_values(self, keys_values: KeysValues) -> Iterator[None]:
        """Let the UNet attend to keys and values that were computed before.

        Needed for an adapter that is wrapped for several devices, since gradients are gathered only if its own forward
        was called.
        """
        self._keys_values = keys_values
        try:
            yield
        finally:
            self._keys_values = {}

    def block(self, name: str) -> tuple[Tensor, Tensor] | None:
        """Return a block's keys and values, or None outside the contexts."""
        return self._keys_values.get(name)


class UserAttnProcessor:
    """diffusers' attention processor of one cross-attention block: text attention plus attention to the user tokens."""

    def __init__(self, branch: UserBranch, block: str) -> None:
        self._branch = branch
        self._block = block

    def __call__(
        self,
        attn,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        temb=None,
    ) -> Tensor:
        batch, queries, _ = hidden_states.shape
        q, k, v = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        by_head = [x.view(batch, -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2) for x in (q, k, v)]
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, k.shape[1], batch)
            attention_mask = attention_mask.view(batch, attn.heads, -1, attention_mask.shape[-1])
        out = F.scaled_dot_product_attention(*by_head, attn_mask=attention_mask)
        out = out.transpose(1, 2).reshape(batch, queries, -1)
        keys_values = self._branch.block(self._block)
        if keys_values is not None:
            out = out + decoupled_attention(q, *keys_values, attn.heads)
        for layer in attn.to_out:  # the projection and its dropout
            out = layer(out)
        return out


def install_in_diffusers(unet: UNet2DConditionModel, adapter: PreferenceAdapter) -> UserBranch:
    """Add attention to the user tokens to every cross-attention block of `unet`, in place.

    The UNet does not own the adapter's weights, so it can be frozen while the adapter is trained.

    Returns:
        A ``UserBranch``. Its ``users(tokens)`` context sets the users of a forward.

    Raises:
        ModelError: The cross-attention blocks of the UNet and the adapter differ.
    """
    branch = UserBranch(adapter)
    processors = dict(unet.attn_processors)
    layers = unet.config.layers_per_block
    names = {name: diffusers_block_name(name, layers) for name in processors if name.endswith(".attn2.processor")}
    expected = {name for name, _ in adapter.config.blocks}
    if set(names.values()) != expected:
        raise ModelError(f"The UNet has {len(names)} cross-attention blocks; the adapter expects {len(expected)}.")
    unet.set_attn_processor(processors | {name: UserAttnProcessor(branch, block) for name, block in names.items()})
    return branch
