"""IP-Adapter files in their published layout, with random weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from prefgen.pocket.shapes import UNetShape

WIDTH, TOKENS = 16, 4


def tensors(shape: UNetShape, width: int = WIDTH, like=torch.randn) -> dict[str, torch.Tensor]:
    """What a file for this UNet holds; `like` makes a tensor of a shape."""
    torch.manual_seed(0)
    context = shape.context_dim
    made = {
        "image_proj.proj.weight": like(TOKENS * context, width),
        "image_proj.proj.bias": like(TOKENS * context),
        "image_proj.norm.weight": like(context),
        "image_proj.norm.bias": like(context),
    }
    # diffusers lists down, up, middle; attn1 and attn2 take turns, and only attn2 has K and V for images
    blocks = sorted(shape.attention_blocks(), key=lambda block: block[0].startswith("middle"))
    for place, (_, block) in enumerate(blocks):
        for kind in ("k", "v"):
            made[f"ip_adapter.{2 * place + 1}.to_{kind}_ip.weight"] = like(block, context) * context**-0.5
    return made


def write(path: Path, shape: UNetShape, width: int = WIDTH, **changes: torch.Tensor | None) -> Path:
    """Write a file for image embeddings of a width.

    Args:
        path: The file.
        shape: Shape of the UNet.
        width: Width of the image embeddings.
        changes: Tensors to replace, or None to leave one out. Double underscores stand for dots.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = tensors(shape, width) | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    save_file({name: tensor.half() for name, tensor in held.items() if tensor is not None}, path)
    return path
