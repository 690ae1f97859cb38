"""Generates the pictures of a condition in cached batches, so that an interrupted run resumes."""

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
from train.evaluate.reno.conditions import Condition
from train.evaluate.reno.rewards import RewardFactory
from train.evaluate.reno.settings import ITERATIONS, Settings
from train.evaluate.reno.viper import Viper
from train.pocket.lora import merge_lora
from train.pocket.sampling import FewStepSampling, PocketGenerator, Sampling, codebook_noise, seed_noise
from train.settings import settings_digest

BATCH = 4
"""Agents in a batch (our choice)."""
SEED_DISTANCE = 100_000_000
"""Distance between the seeds of the initial noises of a picture. The first is plain's."""
UNET_SECONDS, OTHER_SECONDS, BACKWARD = 0.1 / 16, 0.11 / 16, 1.3
"""Approximate cost on one core: UNet per picture and step; VAE, PrefDisc and CLIP per picture; backward / forward."""


@dataclass(frozen=True)
class GeneratedPictures:
    """Pictures of one condition for n agents, m each.

    Attributes:
        images: Pictures, uint8 (n, m, 3, 96, 96).
        score: Rewards of the pictures by the condition's reward, (n, m).
        first: Rewards before the optimisation, (n, m). NaN without a reward.
        curve: Best reward so far, (n, m, iterations). NaN without a reward.
    """

    images: Tensor
    score: np.ndarray
    first: np.ndarray
    curve: np.ndarray


@dataclass(frozen=True)
class CachedGenerator:
    """A few-step generator whose noise is optimised.

    Attributes:
        model: The preference checkpoint.
        folder: Folder of the cached pictures.
        strength: Strength of the adapter.
        settings: Settings of the optimisation.
        iterations: Number of iterations of ReNO, and N of best-of-N.
        sampling: Settings of the sampler.
        lora: A LoRA to merge into the pocket UNet, or None.
        viper: The ViPer-like model, or None.
    """

    model: PreferenceModel
    folder: Path
    strength: float
    settings: Settings = field(default_factory=Settings)
    iterations: int = ITERATIONS
    sampling: Sampling = field(default_factory=FewStepSampling)
    lora: Path | None = None
    viper: Viper | None = None

    @cached_property
    def generator(self) -> PocketGenerator:
        """The pocket generator, loaded on first use."""
        generator = PocketGenerator.load("cuda" if torch.cuda.is_available() else "cpu")
        if self.lora:
            merge_lora(generator.unet, self.lora)
        return generator

    def generate(self, agents: Agents, name: str, condition: Condition) -> GeneratedPictures:
        """Generate a condition's pictures for all agents, or load them from the cache.

        Raises:
            CheckpointError: The checkpoint lacks a part.
            ModelError: Adapter or LoRA do not fit the pocket UNet.
            RewardError: The settings are invalid.
        """
        folder, batches = self.folder / f"{name}-{self._key(agents, condition)}", []
        for start in tqdm(range(0, len(agents), BATCH), desc=f"generating {name}", unit_scale=BATCH, unit="agents"):
            batch = agents.select(range(start, min(start + BATCH, len(agents))))
            file = folder / f"{start}.safetensors"
            batches.append(cached_tensors(file, lambda batch=batch: self._generate_batch(batch, condition)))
        tensors = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
        return GeneratedPictures(tensors["images"], *(tensors[key].numpy() for key in ("score", "first", "curve")))

    def minutes(self, conditions: list[Condition], pictures: int) -> float:
        """Estimate the minutes on one core that `pictures` pictures of each condition take."""
        sampling = self.sampling
        seconds = sampling.steps * (1 if sampling.cfg == 1 else 2) * UNET_SECONDS + OTHER_SECONDS
        return sum(map(self._forward_passes, conditions)) * pictures * seconds / 60

    def _forward_passes(self, condition: Condition) -> float:
        """Return the cost of a picture in forward passes."""
        settings, iterations = self._settings_of(condition)
        noises = settings.num_initial_noises
        backwards = iterations - (noises if noises > 1 else 0)
        return {"plain": 1.0, "best_of_n": iterations, "reno": iterations + backwards * BACKWARD}[condition.method]

    def _settings_of(self, condition: Condition) -> tuple[Settings, int]:
        """Return the settings and the number of iterations of a condition."""
        return condition.settings or self.settings, condition.iterations or self.iterations

    def _generate_batch(self, agents: Agents, condition: Condition) -> dict[str, Tensor]:
        def sample_noise(index: int) -> Tensor:
            return seed_noise((agents.seeds.ravel() + index * SEED_DISTANCE).tolist())

        generate, noise = self._differentiable_generator(agents, condition), sample_noise(0)
        noise = noise.to(self.generator.unet.device)
        n, m = agents.seeds.shape
        settings, iterations = self._settings_of(condition)
        if condition.reward is None:
            with torch.no_grad():
                images, curve = generate(noise), torch.zeros(0, n * m)
        else:
            reward = self._rewards.create(condition.reward, agents, settings)
            config = settings.config(iterations)
            if condition.method == "best_of_n":
                config = replace(config, num_initial_noises=iterations)
            result = optimize_noise(noise, generate, reward, config, sample_noise=sample_noise).cpu()
            images, curve = result.images, result.curve
        best = torch.cummax(curve.float().cpu(), 0).values if len(curve) else torch.full((1, n * m), torch.nan)
        # After early stopping, repeat the last value.
        best = torch.cat([best, best[-1:].expand(max(0, iterations - len(best)), -1)])
        pixels = (images.cpu() * 255).round().clamp(0, 255).byte()
        return {
            "images": pixels.unflatten(0, (n, m)),
            "score": best[-1].unflatten(0, (n, m)),
            "first": best[0].unflatten(0, (n, m)),
            "curve": best.T.unflatten(0, (n, m)),
        }

    def _differentiable_generator(self, agents: Agents, condition: Condition) -> Callable[[Tensor], Tensor]:
        """Return the function from noise to images, with the adapter and the agents' embeddings if needed."""
        generator, prompts = self.generator, [prompt for prompts in agents.prompts for prompt in prompts]
        if not condition.adapter:
            return generator.painter(prompts, self.sampling)
        adapter = self.model.require("adapter").to(generator.unet.device)
        branch = install_in_diffusers(generator.unet, adapter)
        users = UserParts(*(part.repeat_interleave(agents.seeds.shape[1], 0) for part in agents.users))
        words = codebook_noise(adapter, agents.seeds.ravel().tolist())
        with torch.no_grad():
            pairs = adapter.for_users(users, dict.fromkeys(PARTS, self.strength), words)
        return generator.painter(prompts, self.sampling, branch, pairs)

    @cached_property
    def _rewards(self) -> RewardFactory:
        prefdisc = self.model.require("prefdisc")
        return RewardFactory(prefdisc, self.viper and self.viper.prefdisc().to(prefdisc.device))

    def _key(self, agents: Agents, condition: Condition) -> str:
        """Return the cache key: a hash of everything that determines the pictures."""
        values = {"agents": agents.digest, "sampling": [type(self.sampling).__name__, asdict(self.sampling)]}
        settings, iterations = self._settings_of(condition)
        values |= {"files": self._weights, "batch": BATCH, "iterations": iterations}
        if condition.adapter:
            values |= {"strength": self.strength, "checkpoint": self.model.fingerprint}
        if condition.reward:
            values |= {"way": condition.method, "score": condition.reward, "setting": settings.to_json()}
            values |= {"reading": self.model.encoder_fingerprint}
        if condition.reward == "viper" and self.viper:
            values["viper"] = self.viper.fingerprint
        return settings_digest(values)

    @cached_property
    def _weights(self) -> list[str]:
        lora = [hashlib.sha256(self.lora.read_bytes()).hexdigest()] if self.lora else []
        return [*weights_digests(("unet", "text_encoders", "vae", "clip_vision")), *lora]
