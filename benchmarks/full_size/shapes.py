"""The sizes that are measured: Idefics2-8B and SDXL as published, and tiny ones that run the same code in seconds."""

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
"""HuggingFaceM4/idefics2-8b; the id of the image token is that of our words, the rest as published."""

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
    """What is measured.

    base, spec: PrefDisc's base and how it reads. unet, vae: the painter's. width: of painted images (pixels); steps:
    of their denoising. turbo: pixels of the few-step generator's. pairs: of a history; candidates: to be scored;
    per_device: pairs of targets in a training forward. working: GiB that painting takes beside the weights at most, and
    an iteration of ReNO with recomputed activations, and a training forward (default ours, to decide what is begun).
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
