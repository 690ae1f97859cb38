"""FLOPs of one trial (a history and its two targets) and bytes on a GPU, counted from a base's layers.

A multiplication and its addition are two FLOPs. Counted are matrix products and attention; norms, activations and
softmaxes are left out (some percent). A test holds the forward pass against torch's own counter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from prefgen.prefdisc.config import PrefDiscSpec

NF4_BYTES = 0.5 + 4 / 64
"""Of a weight in NF4: 4 bits, and a float32 scale for each block of 64 (bitsandbytes, not doubly quantised)."""
LEARNT_BYTES = 4 + 4 + 8
"""Of a parameter that learns: itself, its gradient and AdamW's two moments, all float32."""


@dataclass(frozen=True)
class Trial:
    """What one trial puts through the model: images, patches of each, tokens of [P_v; history; both targets]."""

    images: int
    patches: int
    tokens: int


@dataclass(frozen=True)
class Forward:
    """FLOPs of one trial's forward pass: sight (tower and connector), text (the decoder and the labels' logits)."""

    sight: float
    text: float

    def of_stage(self, stage: int, recomputed: bool) -> float:
        """FLOPs of a trial's whole step. The base is frozen, so a backward pass costs what a forward one does (the
        gradient of what goes in; the LoRA's own is small); recomputed activations cost one more. Stage 2 learns P_v
        alone, whose gradient does not reach what sees."""
        passes = 3 if recomputed else 2
        return passes * self.text + (passes if stage == 1 else 1) * self.sight


def trial_size(spec: PrefDiscSpec, pairs: int, turn_tokens: int, patch: int) -> Trial:
    """A trial of `pairs` pairs of history, a turn being so many tokens, its image's own among them."""
    turns = 2 * pairs + 2
    return Trial(turns, (spec.longest_edge // patch) ** 2, spec.num_tokens + turns * turn_tokens)


def count_forward_flops(base: nn.Module, trial: Trial) -> Forward:
    """Count one trial's forward pass through a base, on whatever device."""
    text, seen = base.config.text_config, base.config.perceiver_config
    tower, connector = base.model.vision_model, base.model.connector
    sight = 2 * _weights(tower, (nn.Linear, nn.Conv2d)) * trial.patches
    sight += 4 * trial.patches**2 * base.config.vision_config.hidden_size * base.config.vision_config.num_hidden_layers
    sight += 2 * _weights(connector.modality_projection, (nn.Linear,)) * trial.patches
    read = trial.patches + seen.resampler_n_latents
    resampler = connector.perceiver_resampler
    for name, module in _linears(resampler):
        over_all = name.rsplit(".", 1)[-1] in ("k_proj", "v_proj")
        sight += 2 * module.weight.numel() * (read if over_all else seen.resampler_n_latents)
    width = seen.resampler_n_heads * seen.resampler_head_dim
    sight += 4 * seen.resampler_n_latents * read * width * seen.resampler_depth
    words = 2 * _weights(base.model.text_model, (nn.Linear,)) * trial.tokens
    # Under a packed mask the whole square is computed.
    heads = text.num_attention_heads * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    words += 4 * trial.tokens**2 * heads * text.num_hidden_layers
    labels = 2 * 2 * base.lm_head.weight.numel()
    return Forward(float(sight * trial.images), float(words + labels))


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU: frozen weights, what learns, kept (activations at the layers' borders, of `per_device` trials,
    where the rest is recomputed), layer (the largest layer's activations, once)."""

    frozen: float
    learnt: float
    kept: float
    layer: float

    @property
    def total(self) -> float:
        """Their sum: without CUDA's own, the allocator's gaps and what kernels work in."""
        return self.frozen + self.learnt + self.kept + self.layer


def estimate_memory(base: nn.Module, trial: Trial, per_device: int, quantised: bool, shards: int = 1) -> Memory:
    """Bytes by arithmetic. quantised: NF4 for the language model's and the connector's linear layers. shards: GPUs over
    which FSDP lays the weights, one layer of which is then whole at a time."""
    four_bits = {id(m.weight) for m in _quantisable(base)} if quantised else set()
    frozen = learnt = 0.0
    for parameter in base.parameters():
        if parameter.requires_grad:
            learnt += LEARNT_BYTES * parameter.numel()
        else:
            frozen += (NF4_BYTES if id(parameter) in four_bits else parameter.element_size()) * parameter.numel()
    text, vision = base.config.text_config, base.config.vision_config
    half = 2
    kept = half * per_device * trial.tokens * text.hidden_size * text.num_hidden_layers
    seen = per_device * trial.images * trial.patches
    kept += half * seen * vision.hidden_size * vision.num_hidden_layers
    # A layer's own: its inputs, queries, keys, values and output, and the MLP's two or three inner states.
    layer = half * max(
        per_device * trial.tokens * (5 * text.hidden_size + 3 * text.intermediate_size),
        seen * (5 * vision.hidden_size + 2 * vision.intermediate_size),
    )
    if shards > 1:
        largest = max(_bytes(module) for module in base.model.text_model.layers)
        frozen, learnt = frozen / shards + largest, learnt / shards
    return Memory(frozen, learnt, float(kept), float(layer))


def _quantisable(base: nn.Module) -> Iterable[nn.Linear]:
    parts = (base.model.text_model, base.model.connector)
    return [module for part in parts for name, module in part.named_modules() if _is_plain(name, module)]


def _is_plain(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and "lora_" not in name


def _linears(part: nn.Module) -> list[tuple[str, nn.Linear]]:
    """A part's own linear layers with their names, the LoRA's left out and its wrapping taken off."""
    found = ((name.removesuffix(".base_layer"), module) for name, module in part.named_modules())
    return [(name, module) for name, module in found if _is_plain(name, module)]


def _weights(part: nn.Module, kinds: tuple[type, ...]) -> int:
    return sum(m.weight.numel() for name, m in part.named_modules() if isinstance(m, kinds) and "lora_" not in name)


def _bytes(module: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
