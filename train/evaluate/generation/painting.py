"""Paints rows, a few agents at a time, and keeps every part: a run that was killed goes on where it stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.adapter import PreferenceAdapter, UserParts, install_in_diffusers
from prefgen.checkpoint.preference_model import PreferenceModel
from train.evaluate.generation.rows import Row
from train.evaluate.pictures.agents import Agents
from train.evaluate.pictures.kept import kept, weights_digests
from train.pocket.sampling import PocketGenerator, Sampling, seed_noise, seed_words
from train.settings import key_of

BATCH = 8
"""Agents in one forward."""
FORWARD = 0.25 / 32
"""Seconds of one processor core for one row of the UNet's batch at one step, about."""


@dataclass(frozen=True)
class Painting:
    """A generator and how it is used. model: the preference checkpoint. strength: of the adapter, as the node's."""

    model: PreferenceModel
    folder: Path
    strength: float
    sampling: Sampling = field(default_factory=Sampling)

    @cached_property
    def generator(self) -> PocketGenerator:
        """Loaded when there is something to paint."""
        return PocketGenerator.load("cuda" if torch.cuda.is_available() else "cpu")

    def paint(
        self, agents: Agents, name: str, row: Row, rows: np.ndarray, model: PreferenceModel | None = None
    ) -> Tensor:
        """A row's pictures for some of the agents, by index: uint8 (len(rows), m, 3, 96, 96). model: with another
        adapter than the checkpoint's.

        Raises CheckpointError where the checkpoint has no adapter, and ModelError where it is not the pocket UNet's.
        """
        model = (model or self.model) if row.personal else None
        adapter = model and model.require("adapter")
        folder = self.folder / f"{name}-{self._key(agents, row, rows, model)}"
        prompts = agents.written_out() if row.written else agents.prompts
        users, parts = row.users(agents.users, agents.others()), []
        for start in tqdm(range(0, len(rows), BATCH), desc=f"painting {name}", unit_scale=BATCH, unit="agents"):
            file, some = folder / f"{start}.safetensors", rows[start : start + BATCH]
            # Each picture has a row of its own, since each draws its own words.
            own = UserParts(*(part[some].repeat_interleave(agents.seeds.shape[1], 0) for part in users))
            texts = [prompt for i in some for prompt in prompts[i]]
            given = texts, agents.seeds[some], adapter, own, row.strengths(self.strength)
            made = kept(file, lambda given=given: {"images": (self._images(*given) * 255).round().byte()})
            parts.append(made["images"].unflatten(0, (len(some), -1)))
        return torch.cat(parts)

    def _images(
        self,
        prompts: list[str],
        seeds: np.ndarray,
        adapter: PreferenceAdapter | None,
        users: UserParts,
        strengths: dict[str, float],
    ) -> Tensor:
        generator, noise = self.generator, seed_noise(seeds.ravel().tolist())
        if adapter is None:
            return generator.paint(prompts, noise, self.sampling)
        adapter = adapter.to(generator.unet.device)
        branch = install_in_diffusers(generator.unet, adapter)
        with torch.no_grad():
            pairs = adapter.for_users(users, strengths, seed_words(adapter, seeds.ravel().tolist()))
        return generator.paint(prompts, noise, self.sampling, branch, pairs)

    def _key(self, agents: Agents, row: Row, rows: np.ndarray, model: PreferenceModel | None) -> str:
        """Of everything that the row's pictures depend on: with other weights it is another folder."""
        told = {"agents": agents.digest, "sampling": asdict(self.sampling), "files": self._weights}
        told |= {"written": row.written, "parts": [row.sem, row.core, row.img], "rows": rows.tolist()}
        told |= {"strength": self.strength, "checkpoint": model.fingerprint} if model else {}
        return key_of(told)

    @cached_property
    def _weights(self) -> list[str]:
        return weights_digests()


def minutes(pictures: int, sampling: Sampling) -> float:
    """What painting takes on one processor core, about."""
    return 2 * pictures * sampling.steps * FORWARD / 60
