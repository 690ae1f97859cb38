"""The published rewards of method.md section 4, as measures: each from local files, or not at all."""

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
    """Those whose files are here. folders: each holds a folder a reward; beside them, the Hugging Face cache.

    Raises RewardError for files that are here and broken, or whose package is not installed.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.models: dict[str, RewardModel] = {}
        for name, wanted in PUBLISHED_REWARDS.items():
            try:
                find_files(name, wanted.files, folders)
            except RewardError:
                continue  # told as not measured
            self.models[name] = load_reward_model(name, folders)

    @torch.no_grad()
    def measure(self, images: Tensor, agents: Agents) -> dict[str, np.ndarray]:
        """Every one of them for uint8 images (n, m, 3, 96, 96): (n, m)."""
        found = {}
        for name, model in self.models.items():
            everyone = zip(images, agents.prompts, strict=True)
            rows = [
                PublishedReward(model, prompts)(own.float() / 255).float().cpu().numpy()
                for own, prompts in tqdm(everyone, desc=name, total=len(images), unit="agents", mininterval=2)
            ]
            found[name] = np.stack(rows)
        return found
