"""Estimates the FLOPs of a trial (a history and its two targets) and the memory per GPU from a base model's layers.

One multiplication and one addition count as two FLOPs. Matrix products and attention are counted. Normalisation,
activation functions and softmax (a few percent) are not. A test compares the forward pass with torch's counter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from prefgen.prefdisc.config import PrefDiscSpec

NF4_BYTES = 0.5 + 4 / 64
"""Bytes per NF4 weight: 4 bits, and a float32 scale per block of 64 (bitsandbytes without double quantisation)."""
TRAINABLE_BYTES = 4 + 4 + 8
"""Bytes per trainable parameter: the weight, its gradient and AdamW's two moments in float32."""


@dataclass(frozen=True)
class Trial:
    """Size of a trial: number of images, of patches per image, and of tokens in [P_v; history; both targets]."""

    images: int
    patches: int
    tokens: int


@dataclass(frozen=True)
class Forward:
    """FLOPs of a trial's forward pass.

    Attributes:
        vision: FLOPs of the vision tower and the connector.
        text: FLOPs of the decoder and the label logits.
    """

    vision: float
    text: float

    def step_flops(self, stage: int, recompute: bool) -> float:
        """Return the FLOPs of a trial in an optimiser step.

        The base is frozen, so a backward pass computes only the gradient of the inputs and costs as much as a forward
        pass. The gradient of the LoRA is small. In stage 2, the gradient ends at P_v and does not reach the vision
        tower.

        Args:
            stage: 1 or 2.
            recompute: Whether activations are recomputed, which costs one more forward pass.
        """
        passes = 3 if recompute else 2
        return passes * self.text + (passes if stage == 1 else 1) * self.vision


def trial_size(spec: PrefDiscSpec, pairs: int, turn_tokens: int, patch: int) -> Trial:
    """Return the size of a trial.

    Args:
        spec: Specification of the PrefDisc.
        pairs: Number of history pairs.
        turn_tokens: Number of tokens in a turn, including the image tokens.
        patch: Side length of a patch in pixels.
    """
    turns = 2 * pairs + 2
    return Trial(turns, (spec.longest_edge // patch) ** 2, spec.num_tokens + turns * turn_tokens)


def count_forward_flops(base: nn.Module, trial: Trial) -> Forward:
    """Count the FLOPs of a trial's forward pass through a base model on any device."""
    text, perceiver = base.config.text_config, base.config.perceiver_config
    tower, connector = base.model.vision_model, base.model.connector
    vision = 2 * _count_weights(tower, (nn.Linear, nn.Conv2d)) * trial.patches
    vision += 4 * trial.patches**2 * base.config.vision_config.hidden_size * base.config.vision_config.num_hidden_layers
    vision += 2 * _count_weights(connector.modality_projection, (nn.Linear,)) * trial.patches
    keys = trial.patches + perceiver.resampler_n_latents
    for name, module in _linear_layers(connector.perceiver_resampler):
        is_key_or_value = name.rsplit(".", 1)[-1] in ("k_proj", "v_proj")
        vision += 2 * module.weight.numel() * (keys if is_key_or_value else perceiver.resampler_n_latents)
    width = perceiver.resampler_n_heads * perceiver.resampler_head_dim
    vision += 4 * perceiver.resampler_n_latents * keys * width * perceiver.resampler_depth
    decoder = 2 * _count_weights(base.model.text_model, (nn.Linear,)) * trial.tokens
    # The packed mask saves no computation: attention is computed for all pairs of tokens.
    heads = text.num_attention_heads * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    decoder += 4 * trial.tokens**2 * heads * text.num_hidden_layers
    labels = 2 * 2 * base.lm_head.weight.numel()
    return Forward(float(vision * trial.images), float(decoder + labels))


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        frozen: Frozen weights.
        trainable: Trainable weights with gradients and optimiser state.
        checkpoints: Activations stored between layers. All other activations are recomputed.
        layer: Activations of the largest layer.
    """

    frozen: float
    trainable: float
    checkpoints: float
    layer: float

    @property
    def total(self) -> float:
        """The sum, which excludes CUDA's context, allocator fragmentation and kernel workspaces."""
        return self.frozen + self.trainable + self.checkpoints + self.layer


def estimate_memory(base: nn.Module, trial: Trial, per_device: int, quantised: bool, shards: int = 1) -> Memory:
    """Estimate the memory needed on each GPU.

    Args:
        base: The base model with its LoRA.
        trial: Size of a trial.
        per_device: Number of trials in a forward pass.
        quantised: Whether the linear layers of the decoder and the connector are in NF4.
        shards: Number of GPUs over which FSDP shards the weights. One layer at a time is gathered.
    """
    nf4 = {id(m.weight) for m in _quantisable(base)} if quantised else set()
    frozen = trainable = 0.0
    for parameter in base.parameters():
        if parameter.requires_grad:
            trainable += TRAINABLE_BYTES * parameter.numel()
        else:
            frozen += (NF4_BYTES if id(parameter) in nf4 else parameter.element_size()) * parameter.numel()
    text, vision = base.config.text_config, base.config.vision_config
    half = 2  # bytes of a half-precision number
    checkpoints = half * per_device * trial.tokens * text.hidden_size * text.num_hidden_layers
    patches = per_device * trial.images * trial.patches
    checkpoints += half * patches * vision.hidden_size * vision.num_hidden_layers
    # Activations inside a layer: input, queries, keys, values, output, and two or three inner states of the MLP.
    layer = half * max(
        per_device * trial.tokens * (5 * text.hidden_size + 3 * text.intermediate_size),
        patches * (5 * vision.hidden_size + 2 * vision.intermediate_size),
    )
    if shards > 1:
        largest = max(_bytes(module) for module in base.model.text_model.layers)
        frozen, trainable = frozen / shards + largest, trainable / shards
    return Memory(frozen, trainable, float(checkpoints), float(layer))


def _quantisable(base: nn.Module) -> Iterable[nn.Linear]:
    parts = (base.model.text_model, base.model.connector)
    return [module for part in parts for name, module in part.named_modules() if _is_base_linear(name, module)]


def _is_base_linear(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and "lora_" not in name


def _linear_layers(part: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Return the names and the linear layers of a module, without the LoRA's layers and wrappers."""
    modules = ((name.removesuffix(".base_layer"), module) for name, module in part.named_modules())
    return [(name, module) for name, module in modules if _is_base_linear(name, module)]


def _count_weights(part: nn.Module, kinds: tuple[type, ...]) -> int:
    return sum(m.weight.numel() for name, m in part.named_modules() if isinstance(m, kinds) and "lora_" not in name)


def _bytes(module: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
