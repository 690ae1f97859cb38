"""Adds the options --bases and --precision to training commands, and loads checkpoints accordingly."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from prefgen.checkpoint.preference_model import PreferenceModel, load_preference_model
from prefgen.cli.options import add_bases_option
from prefgen.prefdisc.base.locate import POCKET_BASE, BaseLoadOptions, BaseLocation

PRECISIONS = ("float32", "bfloat16", "nf4")
PACK = Path(__file__).resolve().parents[1]


def add_base_options(parser: argparse.ArgumentParser) -> None:
    """Add --bases and --precision."""
    add_bases_option(
        parser,
        "folder of base models; may be repeated. ComfyUI's models/prefgen/base and models/LLM are always searched",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="precision of the base model. Idefics2-8B needs 31 GiB in float32, 16 GiB in bfloat16 and 6 GiB in nf4",
    )


def base_folders(folders: list[Path]) -> list[Path]:
    """Return the folders to search for base models: `folders`, then the folders that the nodes search.

    ComfyUI's `models` folder is searched for in three places: the folder that contains custom_nodes with this pack,
    COMFYUI_PATH, and the working directory.
    """
    roots = [PACK.parents[1], Path(os.environ.get("COMFYUI_PATH") or "."), Path(".")]
    places = [root / "models" / name for root in roots for name in ("prefgen/base", "LLM")]
    return [*folders, *(place for place in dict.fromkeys(places) if place.is_dir())]


def load_model(
    checkpoint: str | Path, arguments: argparse.Namespace, device: torch.device | str = "cpu"
) -> PreferenceModel:
    """Load a checkpoint with the options of `add_base_options`.

    Raises:
        CheckpointError: The checkpoint or its base cannot be loaded, or the base cannot be quantised.
    """
    quantize = "nf4" if arguments.precision == "nf4" else "none"
    dtype = torch.float32 if arguments.precision == "float32" else torch.bfloat16

    def options(location: BaseLocation) -> BaseLoadOptions:
        # The bundled base is small, and its user embeddings must be reproducible bit for bit.
        exact = location.id == POCKET_BASE
        return BaseLoadOptions(torch.float32 if exact else dtype, "none" if exact else quantize, device)

    return load_preference_model(checkpoint, device, base_folders=base_folders(arguments.bases), base_options=options)
