"""Features kept: where the tower and the connector stay as they are, every image is encoded once, before training."""

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

AT_ONCE = 32


class FeatureTable:
    """What the connector shows of every image, in a file that all processes of a machine map into memory.

    files: the images, in the table's order. shape: (latents, D).
    """

    def __init__(self, path: Path, files: Sequence[Path], shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self.places = {file: row for row, file in enumerate(files)}
        self._map()

    def rows(self, files: Sequence[Path]) -> Tensor:
        """The features (N, latents, D) of these files."""
        return self.values[[self.places[file] for file in files]]

    def _map(self) -> None:
        size = len(self.places) * self.shape[0] * self.shape[1]
        flat = torch.from_file(str(self.path), shared=True, size=size, dtype=self.dtype)
        self.values = flat.view(len(self.places), *self.shape)

    def __getstate__(self) -> dict:
        # A loader's worker maps the file itself, rather than being sent what it holds.
        return {name: value for name, value in self.__dict__.items() if name != "values"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._map()


def images_of(*groups: Iterable[UserPairs]) -> tuple[Path, ...]:
    """Every image of these users, once, in order."""
    return tuple(
        dict.fromkeys(file for users in groups for user in users for pair in user.pairs for file in pair.images)
    )


@torch.no_grad()
def encode_all(prefdisc: PrefDisc, files: Sequence[Path], size: int, folder: Path) -> FeatureTable:
    """Encode every file, or take what an earlier run kept of the same files by the same weights.

    Every process of a machine encodes its share; the folder may be on a disk that only they see.
    """
    from train.prefdisc.batches import read_square

    state, key = PartialState(), _key(prefdisc, files, size)
    width = prefdisc.base.config.text_config.hidden_size
    latents = prefdisc.base.config.perceiver_config.resampler_n_latents
    folder.mkdir(parents=True, exist_ok=True)
    done, path = folder / f"{key}.json", folder / f"{key}.features"
    if state.is_local_main_process and not done.exists():
        # The whole file's length before anybody maps it. A kill leaves no note beside it: it is then filled anew.
        with path.open("wb") as file:
            file.truncate(len(files) * latents * width * prefdisc.base.dtype.itemsize)
    state.wait_for_everyone()
    table = FeatureTable(path, files, (latents, width), prefdisc.base.dtype)
    if not done.exists():
        shares = range(state.local_process_index * AT_ONCE, len(files), _on_this_machine() * AT_ONCE)
        for start in tqdm(shares, desc="encoding images", disable=not state.is_local_main_process, mininterval=10):
            part = torch.stack([read_square(file, size) for file in files[start : start + AT_ONCE]])
            # As in training, where half-precision weights meet float32 pixels.
            with torch.autocast(prefdisc.device.type, table.dtype, enabled=table.dtype != torch.float32):
                table.values[start : start + len(part)] = prefdisc.features(part).to(table.dtype).cpu()
    state.wait_for_everyone()
    if state.is_local_main_process:
        done.write_text(json.dumps({"images": len(files), "shape": [latents, width]}))
    return table


def _key(prefdisc: PrefDisc, files: Sequence[Path], size: int) -> str:
    """Of everything that the features depend on: the files as they lie, the reading of pixels, the weights that see."""
    model, spec = prefdisc.base.model, prefdisc.spec
    seeing = {**model.vision_model.state_dict(prefix="t."), **model.connector.state_dict(prefix="c.")}
    reading = [size, spec.longest_edge, spec.shortest_edge, spec.mean, spec.std]
    listing = hashlib.sha256("\n".join(f"{file} {file.stat().st_size}" for file in files).encode()).hexdigest()
    weights = fingerprint({}, {name: t.contiguous() for name, t in seeing.items() if isinstance(t, Tensor)})
    return hashlib.sha256(json.dumps([reading, listing, weights, str(prefdisc.base.dtype)]).encode()).hexdigest()[:20]


def _on_this_machine() -> int:
    from accelerate.utils import get_int_from_env

    return get_int_from_env(["LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS"], PartialState().num_processes)
