"""Model and image sizes: Idefics2-8B and SDXL as published, and tiny models for tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.geometries import NARROW, SPEC
from prefgen.pocket.shapes import SDXL_UNET, UNetShape
from prefgen.prefdisc.config import PrefDiscSpec
from train.needs.shapes import IDEFICS2_8B as PUBLISHED

IDEFICS2_8B = PUBLISHED | {
    "image_token_id": 1,
    "tie_word_embeddings": False,
    "text_config": PUBLISHED["text_config"]
    | {"max_position_embeddings": 32_768, "bos_token_id": None, "eos_token_id": 2},
}
"""HuggingFaceM4/idefics2-8b as published, except that the image token id is that of our word tokenizer."""

VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}
"""SDXL's VAE, as ComfyUI's `ddconfig`."""


@dataclass(frozen=True)
class Shapes:
    """Sizes of all measured workloads.

    Attributes:
        name: Name of the geometry.
        base: Configuration of PrefDisc's base model.
        spec: PrefDisc's configuration.
        unet: Shape of the generator's UNet.
        vae: Configuration of the VAE.
        width: Width and height of generated images in pixels.
        steps: Number of denoising steps.
        turbo: Width and height of the few-step generator's images in pixels.
        pairs: Number of pairs in a history.
        candidates: Number of candidates to score.
        per_device: Number of target pairs in a training batch.
        working: GiB of memory to reserve in addition to the weights, for generation, for a ReNO iteration and for a
            training step. The amounts are our choice.
    """

    name: str
    base: dict[str, Any]
    spec: PrefDiscSpec
    unet: UNetShape
    vae: dict[str, Any]
    width: int
    steps: int
    turbo: int
    pairs: int
    candidates: int
    per_device: int
    working: tuple[float, float, float]


FULL = Shapes(
    "full",
    IDEFICS2_8B,
    replace(SPEC, sem_layers=(29, 30, 31, 32), core_layers=tuple(range(8, 21))),
    SDXL_UNET,
    VAE,
    width=1024,
    steps=30,
    turbo=512,
    pairs=8,
    candidates=32,
    per_device=2,
    working=(3.0, 4.0, 8.0),
)
_NARROWER = {"hidden_size": 64, "intermediate_size": 128}
TINY = Shapes(
    "tiny",
    NARROW
    | {
        "vision_config": NARROW["vision_config"] | _NARROWER | {"num_attention_heads": 2},
        "perceiver_config": NARROW["perceiver_config"] | {"hidden_size": 64, "resampler_head_dim": 16},
        "text_config": NARROW["text_config"] | _NARROWER | {"num_attention_heads": 4, "vocab_size": 64},
    },
    replace(SPEC, longest_edge=112, shortest_edge=84),
    replace(SDXL_UNET, channels=(32, 64, 64), depth=(0, 1, 1), head_channels=32, context_dim=64, pooled_dim=64),
    VAE | {"ch": 32, "ch_mult": [1, 1, 1, 1]},
    width=128,
    steps=3,
    turbo=64,
    pairs=2,
    candidates=3,
    per_device=1,
    working=(0.3, 0.3, 0.3),
)
SHAPES = {shapes.name: shapes for shapes in (FULL, TINY)}
