"""The published rewards' files: looked for in folders and in the Hugging Face cache, never over a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import RewardError

WEIGHTS = "model.safetensors"


def find_files(
    name: str, wanted: Mapping[str, Sequence[str]], folders: Sequence[Path], cache: Path | None = None
) -> dict[str, Path]:
    """The files of the reward `name`, by file name.

    wanted: file name -> the Hub ids in whose cached copies it may be. folders: each holds a folder a reward, named by
    it. cache: the Hugging Face cache (None: the usual one). Raises RewardError for a file that is nowhere: which, and
    where it was looked for.
    """
    return {file: _find(name, file, repos, folders, cache) for file, repos in wanted.items()}


def _find(name: str, file: str, repos: Sequence[str], folders: Sequence[Path], cache: Path | None) -> Path:
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
        f"The reward {name} needs {file}, which is not here; looked in {'; '.join(searched)}: put the file into the "
        "first of these, or set the weight of this reward to 0."
    )


def read_weights(path: Path, prefix: str = "") -> dict:
    """The tensors of a .safetensors file, without `prefix` where all names have it.

    Raises RewardError where it is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise RewardError(f"{path} cannot be read as .safetensors ({error}): download the file again.") from error
    if all(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def fill(model, tensors: Mapping, path: Path) -> None:
    """Load all of a model's weights; what the file has beside them (buffers of older versions) is left out.

    Raises RewardError where tensors are missing or of other shapes.
    """
    own = model.state_dict()
    missing = sorted(set(own) - set(tensors))
    other = sorted(name for name in own if name in tensors and own[name].shape != tensors[name].shape)
    if missing or other:
        fault = f"lacks {len(missing)} tensors, {missing[0]}" if missing else f"has another shape for {other[0]}"
        raise RewardError(
            f"{path} does not fit the reward's architecture: it {fault} among them; get the file again, or with it the "
            "config.json that describes it."
        )
    model.load_state_dict({name: tensors[name] for name in own})
