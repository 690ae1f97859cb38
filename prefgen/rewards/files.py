"""Finds and reads the files of published rewards: in folders and the Hugging Face cache, never over the network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from ..errors import RewardError
from ..validation import errors_as

WEIGHTS = "model.safetensors"


def find_files(
    name: str, files: Mapping[str, Sequence[str]], folders: Sequence[Path], cache: Path | None = None
) -> dict[str, Path]:
    """Find the files of a reward.

    Args:
        name: Name of the reward.
        files: File names, each with the Hub ids whose cached copies may contain it.
        folders: Folders with a subfolder for each reward, searched first.
        cache: The Hugging Face cache; None for its default location.

    Returns:
        The paths by file name.

    Raises:
        RewardError: A file is missing. The message lists the places that were searched.
    """
    return {file: _find_file(name, file, repos, folders, cache) for file, repos in files.items()}


def _find_file(name: str, file: str, repos: Sequence[str], folders: Sequence[Path], cache: Path | None) -> Path:
    from huggingface_hub import constants, try_to_load_from_cache

    for folder in folders:
        path = Path(folder) / name / file
        if path.is_file():
            return path
    for repo in repos:
        cached = try_to_load_from_cache(repo, file, cache_dir=cache)
        if isinstance(cached, str):
            return Path(cached)
    searched = [str(Path(folder) / name) for folder in folders]
    searched.append(f"the Hugging Face cache {cache or constants.HF_HUB_CACHE} ({', '.join(repos)})")
    raise RewardError(
        f"The reward {name} needs {file}, which is not in {'; '.join(searched)}. Put the file into the first of these, "
        "or set the weight of the reward to 0."
    )


def read_weights(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file, and remove `prefix` if all names start with it.

    Raises:
        RewardError: The file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    errors = (OSError, SafetensorError, ValueError)
    with errors_as(RewardError, f"{path} cannot be read as .safetensors", "Download the file again.", errors):
        tensors = load_file(path)
    if all(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def read_json(path: Path) -> dict:
    """Read a JSON object; {} if the file does not exist.

    Raises:
        RewardError: The file is not a JSON object.
    """
    if not path.is_file():
        return {}
    errors = (OSError, ValueError, TypeError)
    with errors_as(RewardError, f"{path} is not a JSON object", "Download the file again.", errors):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load all weights of a model. Other tensors of the file, such as buffers of older versions, are ignored.

    Args:
        model: The model.
        tensors: Tensors by name.
        path: The file, for the message.

    Raises:
        RewardError: A tensor is missing or has another shape.
    """
    expected = model.state_dict()
    missing = sorted(set(expected) - set(tensors))
    mismatched = sorted(name for name in expected if name in tensors and expected[name].shape != tensors[name].shape)
    if missing or mismatched:
        fault = f"lacks {len(missing)} tensors such as {missing[0]}" if missing else f"has another {mismatched[0]}"
        raise RewardError(f"{path} does not fit the reward: it {fault}. Download it again, with its config.json.")
    model.load_state_dict({name: tensors[name] for name in expected})
