"""Checkpoints of models that are not SDXL, as small as core's detection lets them be."""

from pathlib import Path

import torch
from safetensors.torch import save_file

WIDTH, TIME, TEXT = 320, 1280, 768  # core knows SD1.5 by the first and the last


def write_sd15(path: Path) -> str:
    """An SD1.5 UNet with one level and weights of zero (40 MB); returns the file's name for core's UNETLoader."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in sd15_shapes().items()}, path)
    return path.name


def sd15_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    def residual(name: str, into: int) -> None:
        layer(f"{name}.in_layers.0", into)
        layer(f"{name}.in_layers.2", WIDTH, into, 3, 3)
        layer(f"{name}.emb_layers.1", WIDTH, TIME)
        layer(f"{name}.out_layers.0", WIDTH)
        layer(f"{name}.out_layers.3", WIDTH, WIDTH, 3, 3)
        if into != WIDTH:
            layer(f"{name}.skip_connection", WIDTH, into, 1, 1)

    def transformer(name: str) -> None:
        block = f"{name}.transformer_blocks.0"
        layer(f"{name}.norm", WIDTH)
        layer(f"{name}.proj_in", WIDTH, WIDTH, 1, 1)
        layer(f"{name}.proj_out", WIDTH, WIDTH, 1, 1)
        for attention, context in (("attn1", WIDTH), ("attn2", TEXT)):
            layer(f"{block}.{attention}.to_q", WIDTH, WIDTH, bias=False)
            layer(f"{block}.{attention}.to_k", WIDTH, context, bias=False)
            layer(f"{block}.{attention}.to_v", WIDTH, context, bias=False)
            layer(f"{block}.{attention}.to_out.0", WIDTH, WIDTH)
        layer(f"{block}.ff.net.0.proj", 8 * WIDTH, WIDTH)
        layer(f"{block}.ff.net.2", WIDTH, 4 * WIDTH)
        for norm in ("norm1", "norm2", "norm3"):
            layer(f"{block}.{norm}", WIDTH)

    layer("time_embed.0", TIME, WIDTH)
    layer("time_embed.2", TIME, TIME)
    layer("input_blocks.0.0", WIDTH, 4, 3, 3)
    residual("input_blocks.1.0", WIDTH)
    transformer("input_blocks.1.1")
    residual("middle_block.0", WIDTH)
    transformer("middle_block.1")
    residual("middle_block.2", WIDTH)
    for index in (0, 1):
        residual(f"output_blocks.{index}.0", 2 * WIDTH)
        transformer(f"output_blocks.{index}.1")
    layer("out.0", WIDTH)
    layer("out.2", 4, WIDTH, 3, 3)
    return shapes


def write_flux(path: Path) -> str:
    """A Flux of one block of each kind, one head wide; returns the file's name for core's UNETLoader."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head, joint = 128, 64
    shapes = {
        "double_blocks.0.img_attn.norm.key_norm.scale": (head,),
        "double_blocks.0.img_attn.norm.query_norm.scale": (head,),
        "single_blocks.0.norm.key_norm.scale": (head,),
        "single_blocks.0.norm.query_norm.scale": (head,),
        "img_in.weight": (head, 64),
        "txt_in.weight": (head, joint),
        "vector_in.in_layer.weight": (head, joint),
        "guidance_in.in_layer.weight": (head, 256),
        "final_layer.linear.weight": (64, head),
    }
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, path)
    return path.name
