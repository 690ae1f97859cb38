"""Reads a CLIP image encoder from a folder or from open_clip, and writes it into a checkpoint for the `img` part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prefgen.checkpoint.file import IMAGE_TOWER, Checkpoint, read_checkpoint, write_part
from prefgen.errors import CheckpointError
from prefgen.rewards.preprocess import MEAN, STD
from prefgen.safefile import fingerprint


def add_image_tower(path: Path, source: str) -> Checkpoint:
    """Write an image encoder into a checkpoint, in half precision. Does nothing if the checkpoint already contains it.

    Args:
        path: The checkpoint.
        source: A CLIP folder in Hugging Face's format, or an open_clip architecture with its weights:
            `ViT-H-14:laion2b_s32b_b79k`, or `ViT-H-14:FILE`. open_clip downloads weights that are not on this machine.

    Raises:
        CheckpointError: The encoder cannot be read, or the checkpoint contains a different one.
    """
    checkpoint = read_checkpoint(path)
    header, tensors = read_folder(Path(source)) if Path(source).is_dir() else read_open_clip(source)
    tensors = {name: tensor.half().contiguous() for name, tensor in tensors.items() if tensor.is_floating_point()}
    header |= {"source": Path(source).name, "digest": fingerprint(header, tensors)[:16]}
    present = checkpoint.header.get(IMAGE_TOWER)
    if present and (not isinstance(present, dict) or present["digest"] != header["digest"]):
        name = present.get("source") if isinstance(present, dict) else present
        raise CheckpointError(
            f"{path.name} has the image tower {name!r}; this run has {source!r}. Use the same image tower, "
            "or a checkpoint without one."
        )
    return checkpoint if present else write_part(path, IMAGE_TOWER, header, tensors)


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the image encoder of a CLIP folder in Hugging Face's format. Nothing is downloaded.

    Returns:
        The header of the part, and its tensors.

    Raises:
        CheckpointError: The folder contains no CLIP image encoder with a projection.
    """
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    try:
        model, loaded = CLIPVisionModelWithProjection.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
        missing = sorted(loaded["missing_keys"])
        preprocessing = {"image_mean": MEAN, "image_std": STD}
        if (folder / "preprocessor_config.json").is_file():
            preprocessing = CLIPImageProcessor.from_pretrained(folder, local_files_only=True).to_dict()
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} cannot be read as a CLIP image encoder ({' '.join(str(error).split()[:20])}). Pass a folder "
            "with config.json and model.safetensors, or an open_clip name such as ViT-H-14:laion2b_s32b_b79k."
        ) from error
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} tensors of a CLIP image encoder with projection, such as {missing[0]}. "
            "Pass a different folder."
        )
    config = model.config.to_diff_dict() | {"projection_dim": model.config.projection_dim}
    excluded = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")
    header = {
        "kind": "clip",
        "config": {name: value for name, value in config.items() if name not in excluded},
        "size": model.config.image_size,
        "mean": list(preprocessing["image_mean"]),
        "std": list(preprocessing["image_std"]),
    }
    return header, model.state_dict()


def read_open_clip(source: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the image encoder of an open_clip model. Returns the same as `read_folder`."""
    name, _, weights = source.partition(":")
    try:
        import open_clip

        config = open_clip.get_model_config(name)
        if not weights or config is None:
            raise ValueError(f"the source is {source!r}; expected a folder, or an open_clip name ARCHITECTURE:WEIGHTS")
        visual = open_clip.create_model(name, pretrained=weights).visual
        preprocessing = visual.preprocess_cfg
    except (ImportError, OSError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"The image tower {source!r} cannot be read ({' '.join(str(error).split()[:20])}). Pass a CLIP folder, or "
            "an open_clip name such as ViT-H-14:laion2b_s32b_b79k."
        ) from error
    size = preprocessing["size"]
    header = {
        "kind": "open_clip",
        "config": {key: config[key] for key in ("embed_dim", "vision_cfg")},
        "size": size[0] if isinstance(size, (tuple, list)) else size,
        "mean": list(preprocessing["mean"]),
        "std": list(preprocessing["std"]),
    }
    return header, visual.state_dict()
