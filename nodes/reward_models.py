"""The rewards of a run: their weights as inputs, the published ones' files, and their place in ComfyUI's memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import comfy.model_management
import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..prefgen.rewards import (
    PAPER_WEIGHTS,
    PUBLISHED,
    PreferenceReward,
    PublishedReward,
    Reward,
    RewardModel,
    WeightedRewards,
    check_weights,
    load_reward_model,
)
from .load_model import FOLDER
from .memory.model_management import managed, patchers, ready
from .memory.precision import AUTO, precision_of
from .sampling.few_step import make_differentiable

REWARDS = "rewards"
PREFERENCE = "preference_weight"

_kept: dict[str, RewardModel] = {}
"""The reward models of the last run, so that the next one need not read gigabytes again."""


def weight_inputs() -> list[io.Float.Input]:
    """An input for the preference's weight, and one for each published reward's, which is off until asked for."""
    ours = io.Float.Input(
        PREFERENCE,
        **{"default": 1.0, "min": 0.0, "max": 100.0, "step": 0.05, "optional": True},
        tooltip=f"Of the preference score; {PAPER_WEIGHTS['preference']:g} in the paper, beside general rewards.",
    )
    others = [
        io.Float.Input(
            f"{name}_weight",
            **{"default": 0.0, "min": 0.0, "max": 100.0, "step": 0.05, "optional": True},
            tooltip=f"Of {reward.title}, a general reward; {PAPER_WEIGHTS[name]:g} in the papers, 0 leaves it out. Its "
            f"files are looked for in models/{FOLDER}/{REWARDS}/{name} and in the Hugging Face cache.",
        )
        for name, reward in PUBLISHED.items()
    ]
    return [ours, *others]


def folders() -> list[Path]:
    """Where rewards are looked for: models/prefgen/rewards, wherever ComfyUI has it."""
    return [Path(folder) / REWARDS for folder in folder_paths.get_folder_paths(FOLDER)]


def summed(preference: PreferenceReward, weights: Mapping[str, float], prompt: str) -> WeightedRewards:
    """The preference and the published rewards, for one prompt, on their devices. weights: by the names of the inputs;
    what is not given has its default.

    Raises RewardError for weights that make no sum, and for files that are not here.
    """
    weights = {PREFERENCE: 1.0} | dict(weights)
    check_weights(list(weights.values()))
    wanted = [name for name in PUBLISHED if weights.get(f"{name}_weight")]
    for name in set(_kept) - set(wanted):
        del _kept[name]
    on_cpu = comfy.model_management.is_device_cpu(comfy.model_management.text_encoder_device())
    for name in set(wanted) - set(_kept):
        _kept[name] = managed(load_reward_model(name, folders(), precision_of(AUTO, small=on_cpu)))
    rewards: list[tuple[float, Reward]] = [(weights[PREFERENCE], preference)]
    for name in wanted:
        make_differentiable(ready(_kept[name]))
        rewards.append((weights[f"{name}_weight"], PublishedReward(_kept[name], prompt)))
    return WeightedRewards(rewards)


def reward_patchers() -> list[ModelPatcher]:
    """What ComfyUI manages the published rewards of the last sum by."""
    return [patcher for reward in _kept.values() for patcher in patchers(reward)]
