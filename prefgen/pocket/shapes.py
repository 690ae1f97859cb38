"""Shapes of the pocket models, and their configurations for training (diffusers) and for ComfyUI.

What ComfyUI 0.30 passes to SDXL's UNet for a 96-pixel image. Training has to pass the same:

- *Size conditioning.* With a plain `CLIPTextEncode`, width and height default to the latents' times eight. The six
  numbers are `(height, width, crop_h, crop_w, target_height, target_width) = (96, 96, 0, 0, 96, 96)`. Each is embedded
  in 256 values, cosines first, after the pooled text. Diffusers calls them `time_ids`; here they are `SIZE_CONDITION`.
- *Text.* Penultimate hidden states of both encoders without the final norm, 77 tokens, `clip_l` before `clip_g`. The
  pooled text is `clip_g`'s projected last state at the first end token. Padding (49,407 for `clip_l`, 0 for `clip_g`)
  is attended to. An empty negative prompt is the *encoded* empty prompt, not zeros.
- *Latents.* ComfyUI multiplies a VAE's output by 0.13025. `vae_scale = 0.13025` in a TAESD file undoes this, so that
  the UNet sees the encoder's own output.
- *Prediction.* v-prediction on SDXL's schedule: `v = sqrt(a) noise - sqrt(1 - a) latent`, timesteps 0 to 999.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError
from ..validation import require, require_choice

FOLDER = Path(__file__).parent
IMAGE_SIZE = 96
LATENT_CHANNELS = 4
LATENT_SIZE = IMAGE_SIZE // 8
SDXL_LATENT_SCALE = 0.13025
SIZE_CONDITION = (IMAGE_SIZE, IMAGE_SIZE, 0, 0, IMAGE_SIZE, IMAGE_SIZE)
SIZE_EMBEDDING = 256  # values for each number of the size condition, fixed by SDXL

LORA_FOLDER = FOLDER / "loras"
"""Folder that ComfyUI's LoRA loaders list. It holds LoRAs only."""

FEW_STEP_LORA = LORA_FOLDER / "prefgen_pocket_few_step.safetensors"
"""LoRA for sampling the pocket UNet in one to four steps, at cfg 1."""

PARTS = ("unet", "text_encoders", "vae", "clip_vision", "prefdisc", "preference")


@dataclass(frozen=True)
class TextShape:
    """Shape of a CLIP text encoder. ComfyUI reads the penultimate layer, so it needs at least three."""

    hidden: int
    heads: int
    intermediate: int
    activation: str
    layers: int = 3

    def clip_config(self) -> dict:
        """Return the value of ComfyUI's model options `clip_l_model_config` and `clip_g_model_config`."""
        return {
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "intermediate_size": self.intermediate,
            "hidden_act": self.activation,
            "projection_dim": self.hidden,
        }


@dataclass(frozen=True)
class UNetShape:
    """Shape of an SDXL UNet.

    Attributes:
        channels: Width of each level.
        depth: Number of transformer layers in each level's attention blocks. The first level has none, as in SDXL.
        layers_per_block: Number of residual blocks of each level.
        head_channels: Width of an attention head.
        context_dim: Width of the text embedding.
        pooled_dim: Width of the pooled text.
    """

    channels: tuple[int, ...] = (64, 128, 128)
    depth: tuple[int, ...] = (0, 1, 1)
    layers_per_block: int = 2
    head_channels: int = 32
    context_dim: int = 192
    pooled_dim: int = 128

    @property
    def condition_dim(self) -> int:
        """Width of the pooled text and the size condition together (`adm_in_channels`)."""
        return self.pooled_dim + len(SIZE_CONDITION) * SIZE_EMBEDDING

    def diffusers_kwargs(self) -> dict:
        """Return the arguments of `diffusers.UNet2DConditionModel`."""
        down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in self.depth]
        up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(self.depth)]
        return {
            "sample_size": LATENT_SIZE,
            "in_channels": LATENT_CHANNELS,
            "out_channels": LATENT_CHANNELS,
            "block_out_channels": self.channels,
            "layers_per_block": self.layers_per_block,
            "down_block_types": tuple(down),
            "up_block_types": tuple(up),
            "mid_block_type": "UNetMidBlock2DCrossAttn",
            # diffusers requires a number for levels without attention, but does not use it
            "transformer_layers_per_block": tuple(max(depth, 1) for depth in self.depth),
            # despite its name the number of heads, not their width
            "attention_head_dim": tuple(width // self.head_channels for width in self.channels),
            "cross_attention_dim": self.context_dim,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": SIZE_EMBEDDING,
            "projection_class_embeddings_input_dim": self.condition_dim,
        }

    def ldm_config(self) -> dict:
        """Return ComfyUI's `unet_config`, with the names from the original latent diffusion code."""
        base = self.channels[0]
        blocks = self.layers_per_block
        return {
            "image_size": LATENT_SIZE,
            "in_channels": LATENT_CHANNELS,
            "out_channels": LATENT_CHANNELS,
            "model_channels": base,
            "channel_mult": [width // base for width in self.channels],
            "num_res_blocks": [blocks] * len(self.channels),
            "transformer_depth": [depth for depth in self.depth for _ in range(blocks)],
            "transformer_depth_middle": self.depth[-1],
            "transformer_depth_output": [depth for depth in self.depth for _ in range(blocks + 1)],
            "num_head_channels": self.head_channels,
            "num_heads": -1,
            "context_dim": self.context_dim,
            "adm_in_channels": self.condition_dim,
            "num_classes": "sequential",
            "use_spatial_transformer": True,
            "use_linear_in_transformer": True,
            "use_temporal_attention": False,
            "use_temporal_resblock": False,
            "use_checkpoint": False,
            "legacy": False,
        }

    def attention_blocks(self) -> tuple[tuple[str, int], ...]:
        """Return `(name, width)` of every cross-attention block, named as in ComfyUI's patches, such as `input.4.0`."""
        levels = list(zip(self.channels, self.depth, strict=True))
        stride = self.layers_per_block + 1  # each level's blocks and its up- or downsampler
        down = [
            (f"input.{1 + stride * level + block}.{layer}", width)
            for level, (width, depth) in enumerate(levels)
            for block in range(self.layers_per_block)
            for layer in range(depth)
        ]
        middle = [(f"middle.0.{layer}", self.channels[-1]) for layer in range(self.depth[-1])]
        up = [
            (f"output.{stride * level + block}.{layer}", width)
            for level, (width, depth) in enumerate(reversed(levels))
            for block in range(stride)
            for layer in range(depth)
        ]
        return (*down, *middle, *up)


CLIP_L = TextShape(hidden=64, heads=2, intermediate=256, activation="quick_gelu")
CLIP_G = TextShape(hidden=128, heads=4, intermediate=512, activation="gelu")
UNET = UNetShape(context_dim=CLIP_L.hidden + CLIP_G.hidden, pooled_dim=CLIP_G.hidden)

SDXL_UNET = UNetShape(channels=(320, 640, 1280), depth=(0, 2, 10), head_channels=64, context_dim=2048, pooled_dim=1280)
"""The full-size SDXL UNet, with 70 cross-attention blocks."""


def weights_path(part: str) -> Path:
    """Return the file of one part's weights.

    Raises:
        CheckpointError: There is no such part, or its file is missing.
    """
    require_choice("part of the pocket models", part, PARTS, CheckpointError)
    path = FOLDER / f"{part}.safetensors"
    require(path.is_file(), CheckpointError, f"{path} is missing. Reinstall the pack, or run train.pocket.")
    return path
