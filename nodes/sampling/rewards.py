"""The rewards of a noise optimisation: inputs for their weights, and loading under ComfyUI's memory management."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...prefgen.checkpoint.preference_model import PreferenceModel
from ...prefgen.history import UserHistory
from ...prefgen.prefdisc.model import PrefDisc
from ...prefgen.rewards import (
    PAPER_WEIGHTS,
    PUBLISHED_REWARDS,
    AugmentedReward,
    Direction,
    Objective,
    PreferenceReward,
    PublishedReward,
    Reward,
    RewardModel,
    WeightedRewards,
    load_reward_model,
    require_weights,
)
from ...prefgen.taste.scorer import TasteScorer
from ..load_model import FOLDER
from ..memory.model_management import load_scorer, load_to_device, model_patchers, register_with_model_management
from ..memory.precision import AUTO, compute_dtype
from .gradients import make_differentiable

SUBFOLDER = "rewards"
PREFERENCE_WEIGHT = "preference_weight"

_cached_models: dict[str, RewardModel] = {}
"""The published reward models of the last run, so that the next run does not need to read gigabytes again."""


def weight_inputs() -> list[io.Float.Input]:
    """Return inputs for the weights of the preference score and of the published rewards (off by default)."""
    preference = io.Float.Input(
        PREFERENCE_WEIGHT,
        **{"default": 1.0, "min": 0.0, "max": 100.0, "step": 0.05, "optional": True},
        tooltip="Weight of the preference score. The paper uses "
        f"{PAPER_WEIGHTS['preference']:g} together with published rewards.",
    )
    published = [
        io.Float.Input(
            f"{name}_weight",
            **{"default": 0.0, "min": 0.0, "max": 100.0, "step": 0.01, "optional": True},
            tooltip=f"Weight of {spec.title}, a published reward. The papers use {PAPER_WEIGHTS[name]:g}; 0 disables "
            f"it. Put its files into models/{FOLDER}/{SUBFOLDER}/{name}, or the Hugging Face cache.",
        )
        for name, spec in PUBLISHED_REWARDS.items()
    ]
    return [preference, *published]


def reward_folders() -> list[Path]:
    """Return the folders of published rewards: models/prefgen/rewards, and those in extra model paths."""
    return [Path(folder) / SUBFOLDER for folder in folder_paths.get_folder_paths(FOLDER)]


@dataclass(frozen=True)
class RewardSettings:
    """Settings of the reward in a noise optimisation.

    Attributes:
        preference_model: The preference checkpoint.
        history: History of the user.
        prompt: Prompt of the images.
        direction: Whether to reward what the user likes or dislikes.
        objective: The preference score, or its logit margin.
        weights: Weights by input name. Missing weights take their default values.
        num_views: Number of augmented views of each image, or 0 for the image itself.
        seed: Seed of the augmentations.
    """

    preference_model: PreferenceModel
    history: UserHistory
    prompt: str
    direction: Direction
    objective: Objective
    weights: Mapping[str, float]
    num_views: int
    seed: int

    def load_scorer(self) -> PrefDisc | TasteScorer:
        """Load the scorer onto its device, without streamed layers, because these block gradients."""
        scorer = load_scorer(self.preference_model, images=1, full_load=True)
        for patcher in model_patchers(self.preference_model, self.preference_model.scorer_part):
            make_differentiable(patcher.model)
        return scorer

    def load_reward(self, scorer: PrefDisc | TasteScorer) -> Reward:
        """Encode the history, load the published rewards, and return their weighted sum.

        Raises:
            RewardError: The weights are invalid, or files of a published reward are missing.
        """
        prefix = self.preference_model.encode_history(self.history)
        preference = PreferenceReward(scorer, prefix, self.prompt, self.direction, self.objective)
        reward = weighted_rewards(preference, self.weights, self.prompt)
        return AugmentedReward(reward, self.num_views, self.seed) if self.num_views else reward

    def patchers(self) -> list[ModelPatcher]:
        """Return the loaded models that ComfyUI manages."""
        published = [patcher for model in _cached_models.values() for patcher in model_patchers(model)]
        return [*model_patchers(self.preference_model, self.preference_model.scorer_part), *published]


def weighted_rewards(preference: PreferenceReward, weights: Mapping[str, float], prompt: str) -> WeightedRewards:
    """Load the published rewards with a weight above 0, and return their weighted sum with the preference reward.

    Args:
        preference: The reward for the user's preference.
        weights: Weights by input name. Missing weights take their default values.
        prompt: Prompt of the images.

    Raises:
        RewardError: The weights are invalid, or files of a published reward are missing.
    """
    weights = {PREFERENCE_WEIGHT: 1.0} | dict(weights)
    require_weights(list(weights.values()))
    names = [name for name in PUBLISHED_REWARDS if weights.get(f"{name}_weight")]
    for name in set(_cached_models) - set(names):
        del _cached_models[name]
    on_cpu = comfy.model_management.is_device_cpu(comfy.model_management.text_encoder_device())
    for name in set(names) - set(_cached_models):
        _cached_models[name] = register_with_model_management(
            load_reward_model(name, reward_folders(), compute_dtype(AUTO, small=on_cpu))
        )
    rewards: list[tuple[float, Reward]] = [(weights[PREFERENCE_WEIGHT], preference)]
    for name in names:
        make_differentiable(load_to_device(_cached_models[name]))
        rewards.append((weights[f"{name}_weight"], PublishedReward(_cached_models[name], prompt)))
    return WeightedRewards(rewards)
