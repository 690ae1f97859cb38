"""Counts the floating point operations that PrefDisc requires, from its shapes.

Each multiplication and each addition in matrix products counts. Norms, activations and softmaxes do not count, nor does
recomputation to save memory. A test compares the counts with torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import Idefics2Config

from prefgen.prefdisc.config import PrefDiscSpec


def linear_weights(module: nn.Module) -> int:
    """Count the weights of a module's linear layers."""
    return sum(prod(layer.weight.shape) for layer in module.modules() if isinstance(layer, nn.Linear))


class PrefDiscFlops:
    """FLOPs of a PrefDisc with square images.

    Args:
        base: Base model, on the meta device.
        spec: PrefDisc's configuration.
    """

    def __init__(self, base: nn.Module, spec: PrefDiscSpec) -> None:
        self.config: Idefics2Config = base.config
        vision = self.config.vision_config
        self.patches = (spec.longest_edge // vision.patch_size) ** 2
        self.tower = linear_weights(base.model.vision_model)
        self.projection = linear_weights(base.model.connector.modality_projection)
        self.perceiver = base.model.connector.perceiver_resampler
        self.text = linear_weights(base.model.text_model)
        self.labels = prod(base.lm_head.weight.shape)

    def image_flops(self, images: int) -> float:
        """Count the FLOPs of encoding images: vision tower, projection and perceiver."""
        vision, perceiver = self.config.vision_config, self.config.perceiver_config
        n, latents, width = self.patches, perceiver.resampler_n_latents, vision.hidden_size
        patch_embedding = 2 * n * width * 3 * vision.patch_size**2
        tower = 2 * n * self.tower + 4 * n * n * width * vision.num_hidden_layers
        perceiver_flops = 0
        for layer in self.perceiver.layers:
            keys = linear_weights(layer.self_attn.k_proj) + linear_weights(layer.self_attn.v_proj)
            heads = perceiver.resampler_n_heads * perceiver.resampler_head_dim
            perceiver_flops += 2 * (n + latents) * keys + 2 * latents * (linear_weights(layer) - keys)
            perceiver_flops += 4 * latents * (n + latents) * heads
        return images * (patch_embedding + tower + 2 * n * self.projection + perceiver_flops)

    def decoder_flops(self, tokens: int, before: int = 0, rows: int = 1) -> float:
        """Count the FLOPs of the decoder for `rows` sequences of `tokens` tokens after `before` cached tokens."""
        text = self.config.text_config
        heads = text.num_attention_heads * (text.head_dim or text.hidden_size // text.num_attention_heads)
        attention = 4 * tokens * (before + tokens / 2) * heads * text.num_hidden_layers
        return rows * (2 * tokens * self.text + attention)

    def logit_flops(self, positions: int) -> float:
        """Count the FLOPs of vocabulary logits at `positions` positions."""
        return 2 * positions * self.labels


def count_flops(work: Callable[[], object]) -> float:
    """Count the FLOPs of `work` with torch; tensors may be on the meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return float(counter.get_total_flops())
