"""A public IP-Adapter file as a preference model that has an adapter for `img` and nothing else.

Its published layout (h94/IP-Adapter, Apache-2.0): `image_proj.proj` and `image_proj.norm` make 4 tokens of a CLIP image
embedding; `ip_adapter.N.to_k_ip` and `to_v_ip` are the K and V of the cross-attention blocks, N = 1, 3, 5, ... in the
order in which diffusers lists them: down, up, middle. That is our adapter's computation, so that its weights are used
as they are. (The liked images pull, and the disliked ones push: see `dislikes` of ApplyPreferenceAdapter.)
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ..adapter import AdapterConfig, PreferenceAdapter, UserParts
from ..errors import CheckpointError
from ..pocket.shapes import SDXL_UNET, UNET
from ..safefile import fingerprint
from .file import Checkpoint
from .preference_model import PreferenceModel

LAYOUTS = (SDXL_UNET, UNET)
"""The UNets that a file may be made for: SDXL's own, and the pocket generator's."""

PROJECTION = ("image_proj.proj.weight", "image_proj.proj.bias", "image_proj.norm.weight", "image_proj.norm.bias")
_BLOCK = re.compile(r"ip_adapter\.(\d+)\.to_([kv])_ip\.weight")


class ImageAdapterModel(PreferenceModel):
    """A preference model without PrefDisc, for embeddings that have an `img` part alone."""

    @property
    def reading(self) -> str:
        """Images are read by a CLIP image tower that is connected, and left at their embedding's own length."""
        return f"CLIP image embeddings {self.adapter.config.img_dim} wide"

    @property
    def nobody(self) -> UserParts:
        """An image embedding of zeros, which IP-Adapter's training puts in the place of a twentieth of its images, and
        its sampling beside the negative prompt (Ye et al. 2023, arXiv 2308.06721)."""
        return UserParts(img=torch.zeros(self.adapter.config.img_dim))


def load_ip_adapter(path: str | Path) -> ImageAdapterModel:
    """Read an IP-Adapter file, float32 on the CPU.

    Raises CheckpointError: no readable safetensors, no IP-Adapter, one of another kind than the plain one (Plus,
    FaceID), one for another UNet than SDXL's, shapes that do not fit each other, or NaN in a tensor.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    try:
        with torch.inference_mode(False):
            tensors = load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path.name} could not be read ({error}): check its name and place.") from error
    except SafetensorError as error:
        raise CheckpointError(
            f"{path.name} is no whole .safetensors file ({error}), the only kind PrefGen reads: get the file again."
        ) from error
    with torch.inference_mode(False):
        return _assemble(path, {name: tensor.float() for name, tensor in tensors.items()})


def _assemble(path: Path, tensors: dict[str, Tensor]) -> ImageAdapterModel:
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f"{path.name} has NaN in {len(broken)} tensors ({broken[0]}): get the file again.")
    pairs = _pairs(path.name, tensors)
    widths = [k.shape[0] for k, _ in pairs]
    context = pairs[0][0].shape[-1]
    blocks = name_blocks(path.name, widths, context)
    weight = tensors["image_proj.proj.weight"]
    if weight.shape[0] % context or len(tensors["image_proj.norm.weight"]) != context:
        raise CheckpointError(
            f"{path.name} projects an image to {weight.shape[0]} numbers, expected user tokens {context} wide each, as "
            "its K and V read: get the file again."
        )
    config = AdapterConfig(
        *(0, 0, weight.shape[1], 0, context),
        **{"sem_tokens": 0, "core_tokens": 0, "img_tokens": weight.shape[0] // context, "blocks": blocks},
    )
    renamed = {
        "projections.img.linear.weight": weight,
        "projections.img.linear.bias": tensors["image_proj.proj.bias"],
        "projections.img.norm.weight": tensors["image_proj.norm.weight"],
        "projections.img.norm.bias": tensors["image_proj.norm.bias"],
    }
    for (name, _), (k, v) in zip(blocks, pairs, strict=True):
        module = f"blocks.{name.replace('.', '_')}"
        renamed |= {f"{module}.to_k.weight": k, f"{module}.to_v.weight": v}
    adapter = PreferenceAdapter(config)
    try:
        adapter.load_state_dict(renamed)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path.name} has tensors that do not fit each other ({' '.join(str(error).split()[:30])}): get it again."
        ) from error
    header = {"adapter": config.to_dict(), "made_from": "IP-Adapter"}
    checkpoint = Checkpoint(header, {}, path, fingerprint(header, tensors))
    return ImageAdapterModel(checkpoint, adapter=adapter).requires_grad_(False).eval()


def _pairs(name: str, tensors: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """K and V of every block, in the file's order."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if match := _BLOCK.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = tensor
    if not found or not any(key.startswith("image_proj.") for key in tensors):
        raise CheckpointError(
            f"{name} is no IP-Adapter (it lacks image_proj.* or ip_adapter.N.to_k_ip): choose a file of "
            "models/ipadapter such as ip-adapter_sdxl_vit-h.safetensors."
        )
    if set(PROJECTION) - set(tensors):
        others = sorted(key for key in tensors if key.startswith("image_proj."))
        raise CheckpointError(
            f"{name} is an IP-Adapter of another kind (it projects images with {others[0]}, as Plus and FaceID files "
            "do); expected the plain kind, image_proj.proj: choose a file such as ip-adapter_sdxl_vit-h.safetensors."
        )
    halves = [number for number, pair in found.items() if len(pair) != 2]
    if halves:
        raise CheckpointError(f"{name} has only one of K and V in block {halves[0]}: get the file again.")
    return [(found[number]["k"], found[number]["v"]) for number in sorted(found)]


def name_blocks(name: str, widths: list[int], context: int) -> tuple[tuple[str, int], ...]:
    """The blocks as (name, width), in the file's order: down, up, middle.

    name: the file's. widths: of its K and V, in its order. context: width of the text tokens. Raises CheckpointError
    where no UNet that we know has such blocks.
    """
    for shape in LAYOUTS:
        blocks = shape.attention_blocks()
        ordered = sorted(blocks, key=lambda block: block[0].startswith("middle"))  # stable: input, output, middle
        if [width for _, width in ordered] == widths and context == shape.context_dim:
            return tuple(ordered)
    found = "/".join(str(width) for width in sorted(set(widths)))
    raise CheckpointError(
        f"{name} has {len(widths)} blocks {found} wide over text {context} wide, expected SDXL's 70 blocks 640/1280 "
        f"wide over text 2048 wide: {'it is made for SD1.5, ' if context == 768 else ''}choose an IP-Adapter for SDXL."
    )
