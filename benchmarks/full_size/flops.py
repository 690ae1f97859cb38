"""What a piece of PrefDisc's work cannot be done without: multiplications and additions, counted by the shapes, two an
element of every product. Norms, activations and softmaxes are left out, and so is what is computed twice to save
memory. A test holds this to what torch counts."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import Idefics2Config

from prefgen.prefdisc.config import PrefDiscSpec


def linear_weights(module: nn.Module) -> int:
    """Weights of a module's linear layers."""
    return sum(prod(layer.weight.shape) for layer in module.modules() if isinstance(layer, nn.Linear))


class PrefDiscFlops:
    """Counts for a base, given as one on the meta device, and how its checkpoint reads. Images are square."""

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
        """An image becomes its tokens: the tower, the projection of its patches, the perceiver."""
        vision, perceiver = self.config.vision_config, self.config.perceiver_config
        n, latents, width = self.patches, perceiver.resampler_n_latents, vision.hidden_size
        patching = 2 * n * width * 3 * vision.patch_size**2
        tower = 2 * n * self.tower + 4 * n * n * width * vision.num_hidden_layers
        read = 0
        for layer in self.perceiver.layers:
            keys = linear_weights(layer.self_attn.k_proj) + linear_weights(layer.self_attn.v_proj)
            heads = perceiver.resampler_n_heads * perceiver.resampler_head_dim
            read += 2 * (n + latents) * keys + 2 * latents * (linear_weights(layer) - keys)
            read += 4 * latents * (n + latents) * heads
        return images * (patching + tower + 2 * n * self.projection + read)

    def decoder_flops(self, tokens: int, before: int = 0, rows: int = 1) -> float:
        """`rows` sequences of so many tokens go through the decoder, each token attending to those before it, and to
        `before` tokens that were read already."""
        text = self.config.text_config
        heads = text.num_attention_heads * (text.head_dim or text.hidden_size // text.num_attention_heads)
        attention = 4 * tokens * (before + tokens / 2) * heads * text.num_hidden_layers
        return rows * (2 * tokens * self.text + attention)

    def logit_flops(self, positions: int) -> float:
        """The vocabulary's logits at so many positions."""
        return 2 * positions * self.labels


def count_flops(work: Callable[[], object]) -> float:
    """What torch counts of some work, on tensors of any device, the meta device among them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return float(counter.get_total_flops())
