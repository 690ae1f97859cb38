"""Scores pictures with the published rewards of the papers, as far as their files are available."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.errors import RewardError
from prefgen.rewards import PUBLISHED_REWARDS, PublishedReward, RewardModel, load_reward_model
from prefgen.rewards.files import find_files
from train.evaluate.pictures.agents import Agents


class PublishedScores:
    """The published rewards whose files are in `folders` or the Hugging Face cache.

    Args:
        folders: Folders with a subfolder for each reward.

    Raises:
        RewardError: A file is damaged, or a package is not installed.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.models: dict[str, RewardModel] = {}
        for name, spec in PUBLISHED_REWARDS.items():
            try:
                find_files(name, spec.files, folders)
            except RewardError:
                continue  # Reported as not measured.
            self.models[name] = load_reward_model(name, folders)

    @torch.no_grad()
    def measure(self, images: Tensor, agents: Agents) -> dict[str, np.ndarray]:
        """Score pictures, uint8 (n, m, 3, 96, 96), of n agents. Returns (n, m) for each reward."""
        scores = {}
        for name, model in self.models.items():
            by_agent = zip(images, agents.prompts, strict=True)
            rows = [
                PublishedReward(model, prompts)(pictures.float() / 255).float().cpu().numpy()
                for pictures, prompts in tqdm(by_agent, desc=name, total=len(images), unit="agents", mininterval=2)
            ]
            scores[name] = np.stack(rows)
        return scores
