"""Generates the pictures of a condition in cached batches, so that an interrupted run can be continued."""

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
from train.evaluate.generation.conditions import Condition
from train.evaluate.pictures.agents import Agents
from train.evaluate.pictures.tensor_cache import cached_tensors, weights_digests
from train.pocket.sampling import PocketGenerator, Sampling, codebook_noise, seed_noise
from train.settings import settings_digest

BATCH = 8
"""Agents in one batch."""
SECONDS_PER_SAMPLE = 0.25 / 32
"""Approximate time of one UNet evaluation for one sample on one processor core."""


@dataclass(frozen=True)
class CachedGenerator:
    """The pocket generator with fixed settings and a cache on disk.

    Attributes:
        model: Preference checkpoint.
        folder: Folder of the cache.
        strength: Strength of the adapter, as in the node.
        sampling: Sampling settings.
    """

    model: PreferenceModel
    folder: Path
    strength: float
    sampling: Sampling = field(default_factory=Sampling)

    @cached_property
    def pocket(self) -> PocketGenerator:
        """The generator, loaded when the first picture is generated."""
        return PocketGenerator.load("cuda" if torch.cuda.is_available() else "cpu")

    def generate(
        self, agents: Agents, name: str, condition: Condition, rows: np.ndarray, model: PreferenceModel | None = None
    ) -> Tensor:
        """Generate the pictures of a condition for the agents with indices `rows`.

        Args:
            agents: All agents.
            name: Name of the condition.
            condition: The condition.
            rows: Indices of the agents.
            model: Preference model with another adapter; None uses the checkpoint's.

        Returns:
            Pictures, uint8, (len(rows), m, 3, 96, 96).

        Raises:
            CheckpointError: The checkpoint has no adapter.
            ModelError: The adapter does not fit the pocket UNet.
        """
        model = (model or self.model) if condition.personal else None
        adapter = model and model.require("adapter")
        folder = self.folder / f"{name}-{self._cache_key(agents, condition, rows, model)}"
        prompts = agents.prompts_with_favourites() if condition.written else agents.prompts
        users, parts = condition.users(agents.users, agents.other_agents()), []
        for start in tqdm(range(0, len(rows), BATCH), desc=f"generating {name}", unit_scale=BATCH, unit="agents"):
            file, batch = folder / f"{start}.safetensors", rows[start : start + BATCH]
            # Users are repeated for every picture, because codebook words are sampled for each picture.
            batch_users = UserParts(*(part[batch].repeat_interleave(agents.seeds.shape[1], 0) for part in users))
            texts = [prompt for i in batch for prompt in prompts[i]]
            arguments = texts, agents.seeds[batch], adapter, batch_users, condition.strengths(self.strength)
            cached = cached_tensors(
                file, lambda arguments=arguments: {"images": (self._images(*arguments) * 255).round().byte()}
            )
            parts.append(cached["images"].unflatten(0, (len(batch), -1)))
        return torch.cat(parts)

    def _images(
        self,
        prompts: list[str],
        seeds: np.ndarray,
        adapter: PreferenceAdapter | None,
        users: UserParts,
        strengths: dict[str, float],
    ) -> Tensor:
        pocket, noise = self.pocket, seed_noise(seeds.ravel().tolist())
        if adapter is None:
            return pocket.paint(prompts, noise, self.sampling)
        adapter = adapter.to(pocket.unet.device)
        branch = install_in_diffusers(pocket.unet, adapter)
        with torch.no_grad():
            pairs = adapter.for_users(users, strengths, codebook_noise(adapter, seeds.ravel().tolist()))
        return pocket.paint(prompts, noise, self.sampling, branch, pairs)

    def _cache_key(self, agents: Agents, condition: Condition, rows: np.ndarray, model: PreferenceModel | None) -> str:
        """Hash everything that the pictures depend on, including the weights."""
        content = {"agents": agents.digest, "sampling": asdict(self.sampling), "files": self._weights}
        content |= {
            "written": condition.written,
            "parts": [condition.sem, condition.core, condition.img],
            "rows": rows.tolist(),
        }
        content |= {"strength": self.strength, "checkpoint": model.fingerprint} if model else {}
        return settings_digest(content)

    @cached_property
    def _weights(self) -> list[str]:
        return weights_digests()


def minutes(pictures: int, sampling: Sampling) -> float:
    """Estimate the minutes for generating `pictures` on one processor core."""
    return 2 * pictures * sampling.steps * SECONDS_PER_SAMPLE / 60
