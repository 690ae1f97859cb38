"""Caches image features on disk, for training with a frozen vision tower and connector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from accelerate import PartialState
from torch import Tensor
from tqdm import tqdm

from prefgen.prefdisc.model import PrefDisc
from prefgen.safefile import fingerprint
from train.prefdisc.dataset import UserPairs
from train.prefdisc.images import read_square

BATCH_SIZE = 32


class FeatureCache:
    """Connector outputs of images, in a file that all processes of a machine map into memory.

    Args:
        path: The file.
        files: The images, in the order of the file.
        shape: Shape of an image's features, (latents, D).
        dtype: Precision of the features.
    """

    def __init__(self, path: Path, files: Sequence[Path], shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self.index = {file: row for row, file in enumerate(files)}
        self._map()

    def rows(self, files: Sequence[Path]) -> Tensor:
        """Return the features (N, latents, D) of N images."""
        return self.values[[self.index[file] for file in files]]

    def _map(self) -> None:
        size = len(self.index) * self.shape[0] * self.shape[1]
        flat = torch.from_file(str(self.path), shared=True, size=size, dtype=self.dtype)
        self.values = flat.view(len(self.index), *self.shape)

    def __getstate__(self) -> dict:
        # Data loader workers map the file themselves, instead of receiving its content.
        return {name: value for name, value in self.__dict__.items() if name != "values"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._map()


def list_images(*groups: Iterable[UserPairs]) -> tuple[Path, ...]:
    """Return each image of the users once, in the order of first use."""
    return tuple(
        dict.fromkeys(file for users in groups for user in users for pair in user.pairs for file in pair.images)
    )


@torch.no_grad()
def encode_images(prefdisc: PrefDisc, files: Sequence[Path], size: int, folder: Path) -> FeatureCache:
    """Encode images, or open the cache of an earlier run with the same files and weights.

    The processes of a machine share the work, so the folder can be on a local disk of the machine.

    Args:
        prefdisc: Model with the vision tower and connector.
        files: The images.
        size: Side length of the square images in pixels.
        folder: Folder of the cache.
    """
    state, key = PartialState(), _key(prefdisc, files, size)
    width = prefdisc.base.config.text_config.hidden_size
    latents = prefdisc.base.config.perceiver_config.resampler_n_latents
    folder.mkdir(parents=True, exist_ok=True)
    complete, path = folder / f"{key}.json", folder / f"{key}.features"
    if state.is_local_main_process and not complete.exists():
        # The file must have its full length before a process maps it. The JSON file marks the features as complete. If
        # a run is killed, the JSON file is missing, and the next run computes the features again.
        with path.open("wb") as file:
            file.truncate(len(files) * latents * width * prefdisc.base.dtype.itemsize)
    state.wait_for_everyone()
    cache = FeatureCache(path, files, (latents, width), prefdisc.base.dtype)
    if not complete.exists():
        shares = range(state.local_process_index * BATCH_SIZE, len(files), _local_processes() * BATCH_SIZE)
        for start in tqdm(shares, desc="encoding images", disable=not state.is_local_main_process, mininterval=10):
            images = torch.stack([read_square(file, size, prefdisc.spec) for file in files[start : start + BATCH_SIZE]])
            # Training also combines half-precision weights with float32 pixels in this way.
            with torch.autocast(prefdisc.device.type, cache.dtype, enabled=cache.dtype != torch.float32):
                cache.values[start : start + len(images)] = prefdisc.features(images).to(cache.dtype).cpu()
    state.wait_for_everyone()
    if state.is_local_main_process:
        complete.write_text(json.dumps({"images": len(files), "shape": [latents, width]}))
    return cache


def _key(prefdisc: PrefDisc, files: Sequence[Path], size: int) -> str:
    """Return a digest of everything the features depend on: files, image preprocessing, weights and precision."""
    model, spec = prefdisc.base.model, prefdisc.spec
    state = {**model.vision_model.state_dict(prefix="t."), **model.connector.state_dict(prefix="c.")}
    preprocessing = [size, spec.square, spec.rounded, spec.longest_edge, spec.shortest_edge, spec.mean, spec.std]
    listing = hashlib.sha256("\n".join(f"{file} {file.stat().st_size}" for file in files).encode()).hexdigest()
    weights = fingerprint({}, {name: t.contiguous() for name, t in state.items() if isinstance(t, Tensor)})
    parts = [preprocessing, listing, weights, str(prefdisc.base.dtype)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def _local_processes() -> int:
    from accelerate.utils import get_int_from_env

    return get_int_from_env(["LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS"], PartialState().num_processes)
