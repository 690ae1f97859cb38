"""Loads a public IP-Adapter file as a preference model whose adapter uses `img` alone.

The published layout (h94/IP-Adapter, Apache-2.0): `image_proj.proj` and `image_proj.norm` project a CLIP image
embedding to 4 tokens; `ip_adapter.N.to_k_ip` and `to_v_ip` are the K and V projections of the cross-attention blocks,
N = 1, 3, 5, ... in diffusers' order (down, up, middle). Our adapter computes the same, so the weights are used
unchanged.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ..adapter import AdapterConfig, PreferenceAdapter, UserParts
from ..embedding.user import image_fingerprint
from ..errors import CheckpointError
from ..pocket.shapes import SDXL_UNET, UNET
from ..safefile import fingerprint
from ..validation import errors_as, first_nonfinite
from .file import Checkpoint
from .preference_model import PreferenceModel

LAYOUTS = (SDXL_UNET, UNET)
"""UNets that a file can be made for: SDXL's, and the pocket generator's."""

PROJECTION = ("image_proj.proj.weight", "image_proj.proj.bias", "image_proj.norm.weight", "image_proj.norm.bias")
_BLOCK = re.compile(r"ip_adapter\.(\d+)\.to_([kv])_ip\.weight")


class ImageAdapterModel(PreferenceModel):
    """A preference model without PrefDisc, for embeddings that have only an `img` part."""

    encodes_images_only = True

    @property
    def encoder_fingerprint(self) -> str:
        """Identifies the CLIP image encoder by the width of its embeddings, which are not normalised."""
        return image_fingerprint(self.adapter.config.img_dim)

    @property
    def unconditional(self) -> UserParts:
        """An image embedding of zeros.

        IP-Adapter's training uses it for 5 % of the images, and its sampling for the negative prompt (Ye et al. 2023,
        arXiv 2308.06721).
        """
        return UserParts(img=torch.zeros(self.adapter.config.img_dim))


def load_ip_adapter(path: str | Path) -> ImageAdapterModel:
    """Load an IP-Adapter file, in float32 on the CPU.

    Raises:
        CheckpointError: The file is not a readable .safetensors file, not a plain IP-Adapter (such as Plus or FaceID),
            made for a UNet other than SDXL's, or has tensors that contain NaN or do not match each other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    problem = f"{path.name} cannot be read as .safetensors"
    with (
        errors_as(CheckpointError, problem, "Download it again.", (OSError, SafetensorError)),
        torch.inference_mode(False),
    ):
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        return _assemble(path, tensors)


def _assemble(path: Path, tensors: dict[str, Tensor]) -> ImageAdapterModel:
    if (nonfinite := first_nonfinite(tensors.items())) is not None:
        raise CheckpointError(f"{path.name} has NaN or infinity in {nonfinite}. Download the file again.")
    pairs = _keys_values(path.name, tensors)
    context = pairs[0][0].shape[-1]
    blocks = name_blocks(path.name, [k.shape[0] for k, _ in pairs], context)
    weight = tensors["image_proj.proj.weight"]
    config = AdapterConfig(
        *(0, 0, weight.shape[1], 0, context),
        **{"sem_tokens": 0, "core_tokens": 0, "img_tokens": weight.shape[0] // context, "blocks": blocks},
    )
    state = {
        "projections.img.linear.weight": weight,
        "projections.img.linear.bias": tensors["image_proj.proj.bias"],
        "projections.img.norm.weight": tensors["image_proj.norm.weight"],
        "projections.img.norm.bias": tensors["image_proj.norm.bias"],
    }
    for (name, _), (k, v) in zip(blocks, pairs, strict=True):
        module = f"blocks.{name.replace('.', '_')}"
        state |= {f"{module}.to_k.weight": k, f"{module}.to_v.weight": v}
    adapter = PreferenceAdapter(config)
    problem = f"{path.name} has tensors that do not fit each other"
    with errors_as(CheckpointError, problem, "Download it again.", RuntimeError):
        adapter.load_state_dict(state)
    header = {"adapter": config.to_dict(), "made_from": "IP-Adapter"}
    checkpoint = Checkpoint(header, {}, path, fingerprint(header, tensors))
    return ImageAdapterModel(checkpoint, adapter=adapter).requires_grad_(False).eval()


def _keys_values(file: str, tensors: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return the K and V projections of every block, in the file's order."""
    pairs: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if match := _BLOCK.fullmatch(key):
            pairs.setdefault(int(match[1]), {})[match[2]] = tensor
    others = sorted(key for key in tensors if key.startswith("image_proj."))
    if not pairs or not others or set(PROJECTION) - set(tensors):
        kind = f"an IP-Adapter with {others[0]}, as in Plus and FaceID" if pairs and others else "no IP-Adapter"
        raise CheckpointError(f"{file} is {kind}; expected a plain one such as ip-adapter_sdxl_vit-h.safetensors.")
    incomplete = [number for number, pair in pairs.items() if len(pair) != 2]
    if incomplete:
        raise CheckpointError(f"{file} lacks K or V in block {incomplete[0]}. Download the file again.")
    return [(pairs[number]["k"], pairs[number]["v"]) for number in sorted(pairs)]


def name_blocks(file: str, widths: list[int], context: int) -> tuple[tuple[str, int], ...]:
    """Return (name, width) of the blocks, in the file's order: down, up, middle.

    Args:
        file: Name of the file, for error messages.
        widths: Widths of K and V, in the file's order.
        context: Width of the text tokens.

    Raises:
        CheckpointError: The file was made for another UNet.
    """
    for shape in LAYOUTS:
        blocks = shape.attention_blocks()
        ordered = sorted(blocks, key=lambda block: block[0].startswith("middle"))  # stable: input, output, middle
        if [width for _, width in ordered] == widths and context == shape.context_dim:
            return tuple(ordered)
    block_widths = "/".join(str(width) for width in sorted(set(widths)))
    raise CheckpointError(
        f"{file} has {len(widths)} blocks {block_widths} wide and text {context} wide{' (SD1.5)' * (context == 768)}; "
        "expected SDXL's 70 blocks 640/1280 wide and text 2048 wide. Choose an IP-Adapter for SDXL."
    )
