"""Paints rows, a few agents at a time, and keeps every part: a run that was killed goes on where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.adapter import PARTS, UserParts, install_in_diffusers
from prefgen.checkpoint.preference_model import PreferenceModel
from prefgen.reno import optimize_noise
from train.evaluate.pictures.agents import Agents
from train.evaluate.pictures.tensor_cache import cached_tensors, weights_digests
from train.evaluate.reno.rewards import Scores
from train.evaluate.reno.rows import Row
from train.evaluate.reno.setting import ITERATIONS, Setting
from train.evaluate.reno.viper import Viper
from train.pocket.lora import merge_lora
from train.pocket.sampling import FewStepSampling, PocketGenerator, Sampling, codebook_noise, seed_noise
from train.settings import settings_digest

BATCH = 4
"""Agents in one forward, whose graph is kept for the gradient (default ours)."""
OTHERS = 100_000_000
"""Between the seeds of a picture's noises, which best-of-N and ReNO's start choose from; the first is plain's."""
UNET, REST, BACKWARD = 0.1 / 16, 0.11 / 16, 1.3
"""Seconds of one processor core, about: for one row of the UNet at one step; for one picture's VAE, PrefDisc and CLIP;
and how many times both of these a gradient takes."""


@dataclass(frozen=True)
class Painted:
    """A row's pictures for n agents, m each. images uint8 (n, m, 3, 96, 96). score, first (n, m): of the picture, and
    of what the row began with, by the row's own score. curve (n, m, iterations): the best score so far; the last two
    are empty where nothing is climbed."""

    images: Tensor
    score: np.ndarray
    first: np.ndarray
    curve: np.ndarray


@dataclass(frozen=True)
class Painting:
    """A few-step generator and how its noise is optimised. model: the preference checkpoint. strength: of the adapter,
    as the node's. lora: merged into the pocket UNet. viper: what the ViPer-like row reads with."""

    model: PreferenceModel
    folder: Path
    strength: float
    setting: Setting = field(default_factory=Setting)
    iterations: int = ITERATIONS
    sampling: Sampling = field(default_factory=FewStepSampling)
    lora: Path | None = None
    viper: Viper | None = None

    @cached_property
    def generator(self) -> PocketGenerator:
        """Loaded when there is something to paint."""
        found = PocketGenerator.load("cuda" if torch.cuda.is_available() else "cpu")
        if self.lora:
            merge_lora(found.unet, self.lora)
        return found

    def paint(self, agents: Agents, name: str, row: Row) -> Painted:
        """A row's pictures for all agents.

        Raises CheckpointError where the checkpoint lacks a part, ModelError where adapter or LoRA are not the pocket
        UNet's, and RewardError for a setting that cannot be.
        """
        folder, parts = self.folder / f"{name}-{self._key(agents, row)}", []
        for start in tqdm(range(0, len(agents), BATCH), desc=f"painting {name}", unit_scale=BATCH, unit="agents"):
            some = agents.select(range(start, min(start + BATCH, len(agents))))
            parts.append(cached_tensors(folder / f"{start}.safetensors", lambda some=some: self._paint(some, row)))
        made = {what: torch.cat([part[what] for part in parts]) for what in parts[0]}
        return Painted(made["images"], *(made[what].numpy() for what in ("score", "first", "curve")))

    def minutes(self, rows: list[Row], pictures: int) -> float:
        """What painting so many pictures of every row takes on one processor core, about."""
        starts, sampling = self.setting.starts, self.sampling
        climbing = self.iterations - (starts if starts > 1 else 0)
        forwards = {"plain": 1.0, "best_of_n": self.iterations, "reno": self.iterations + climbing * BACKWARD}
        each = sampling.steps * (1 if sampling.cfg == 1 else 2) * UNET + REST
        return sum(forwards[row.way] for row in rows) * pictures * each / 60

    def _paint(self, agents: Agents, row: Row) -> dict[str, Tensor]:
        def noise_of(k: int) -> Tensor:
            """The k-th noise of every picture; the first is plain's."""
            return seed_noise((agents.seeds.ravel() + k * OTHERS).tolist())

        generate, noise = self._generate(agents, row), noise_of(0).to(self.generator.unet.device)
        n, m = agents.seeds.shape
        if row.score is None:
            with torch.no_grad():
                images, curve = generate(noise), torch.zeros(0, n * m)
        else:
            reward = self._scores.of(row.score, agents, self.setting)
            config = self.setting.config(self.iterations)
            if row.way == "best_of_n":
                config = replace(config, num_initial_noises=self.iterations)
            found = optimize_noise(noise, generate, reward, config, sample_noise=noise_of).cpu()
            images, curve = found.images, found.curve
        rising = torch.cummax(curve.float().cpu(), 0).values if len(curve) else torch.full((1, n * m), torch.nan)
        # One that ended early has its last for the rest.
        rising = torch.cat([rising, rising[-1:].expand(max(0, self.iterations - len(rising)), -1)])
        whole = (images.cpu() * 255).round().clamp(0, 255).byte()
        return {
            "images": whole.unflatten(0, (n, m)),
            "score": rising[-1].unflatten(0, (n, m)),
            "first": rising[0].unflatten(0, (n, m)),
            "curve": rising.T.unflatten(0, (n, m)),
        }

    def _generate(self, agents: Agents, row: Row) -> Callable[[Tensor], Tensor]:
        """Noise -> images, with the adapter and the agents' embeddings where the row has them."""
        generator, prompts = self.generator, [prompt for own in agents.prompts for prompt in own]
        if not row.adapter:
            return generator.painter(prompts, self.sampling)
        adapter = self.model.require("adapter").to(generator.unet.device)
        branch = install_in_diffusers(generator.unet, adapter)
        users = UserParts(*(part.repeat_interleave(agents.seeds.shape[1], 0) for part in agents.users))
        words = codebook_noise(adapter, agents.seeds.ravel().tolist())
        with torch.no_grad():
            pairs = adapter.for_users(users, dict.fromkeys(PARTS, self.strength), words)
        return generator.painter(prompts, self.sampling, branch, pairs)

    @cached_property
    def _scores(self) -> Scores:
        prefdisc = self.model.require("prefdisc")
        return Scores(prefdisc, self.viper and self.viper.prefdisc().to(prefdisc.device))

    def _key(self, agents: Agents, row: Row) -> str:
        """Of everything that the row's pictures depend on: with other weights it is another folder."""
        told = {"agents": agents.digest, "sampling": [type(self.sampling).__name__, asdict(self.sampling)]}
        told |= {"files": self._weights, "batch": BATCH, "iterations": self.iterations}
        if row.adapter:
            told |= {"strength": self.strength, "checkpoint": self.model.fingerprint}
        if row.score:
            told |= {
                "way": row.way,
                "score": row.score,
                "setting": self.setting.told(),
                "reading": self.model.encoder_fingerprint,
            }
        if row.score == "viper" and self.viper:
            told["viper"] = self.viper.fingerprint
        return settings_digest(told)

    @cached_property
    def _weights(self) -> list[str]:
        lora = [hashlib.sha256(self.lora.read_bytes()).hexdigest()] if self.lora else []
        return [*weights_digests(("unet", "text_encoders", "vae", "clip_vision")), *lora]
