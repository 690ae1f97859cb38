"""Creates the rewards of the conditions, which score the pictures of several agents at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from prefgen.embedding.image_tower import load_image_tower
from prefgen.history import PreferencePair, UserHistory
from prefgen.pocket.shapes import weights_path
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.prefix import HistoryPrefix
from prefgen.rewards import AugmentedReward, PreferenceReward, Reward, WeightedRewards
from train.evaluate.pictures.agents import Agents
from train.evaluate.reno.conditions import RewardName
from train.evaluate.reno.settings import Settings
from train.pocket.clip import encode_text


@dataclass(frozen=True)
class RewardFactory:
    """Factory of the rewards.

    Attributes:
        prefdisc: The checkpoint's PrefDisc, frozen.
        viper: The ViPer-like model, or None.
    """

    prefdisc: PrefDisc
    viper: PrefDisc | None = None

    def create(self, name: RewardName, agents: Agents, settings: Settings) -> Reward:
        """Return a reward of m pictures of each of n agents, agent by agent: (n m, 3, H, W) to (n m,).

        It is the weighted sum of the preference and the pocket CLIP's cosine with the prompt. The general reward is the
        cosine alone.
        """
        prompts = [prompt for agent_prompts in agents.prompts for prompt in agent_prompts]
        clip = PocketClipReward(prompts, self.prefdisc.device)
        if name == "general":
            reward = clip
        else:
            preference = self._preference(name, agents, settings)
            reward = WeightedRewards([(settings.preference, preference), (settings.clip, clip)])
        return AugmentedReward(reward, settings.views) if settings.views else reward

    def _preference(self, name: RewardName, agents: Agents, settings: Settings) -> Reward:
        objective = settings.objective
        if name == "viper":
            # This model was trained without prompts, in histories and at targets.
            histories = [without_prompts(history) for history in agents.histories]
            rewards = [PreferenceReward(self.viper, self.viper.encode(h), objective=objective) for h in histories]
        else:
            inputs = list(zip(agents.prefixes, agents.prompts, strict=True))
            if name == "preference":
                rewards = [PreferenceReward(self.prefdisc, *pair, objective=objective) for pair in inputs]
            else:
                rewards = [LabelReward(self.prefdisc, *pair, name) for pair in inputs]
        return PerAgentReward(rewards, agents.seeds.shape[1])


@dataclass(frozen=True)
class PerAgentReward:
    """Reward that scores each agent's pictures with the agent's own reward. Every agent has `num_pictures` pictures."""

    rewards: Sequence[Reward]
    num_pictures: int

    def __call__(self, images: Tensor) -> Tensor:
        parts = images.split(self.num_pictures)
        return torch.cat([reward(part) for reward, part in zip(self.rewards, parts, strict=True)])


@dataclass(frozen=True)
class LabelReward:
    """The logit of one label: M+ for "likes", -M- for "dislikes", M- for "disliked" (docs/paper-index.md)."""

    prefdisc: PrefDisc
    prefix: HistoryPrefix
    prompts: Sequence[str]
    label: Literal["likes", "dislikes", "disliked"]

    def __call__(self, images: Tensor) -> Tensor:
        liked, disliked = self.prefdisc.logits(self.prefix, images, self.prompts).float().unbind(-1)
        return {"likes": liked, "dislikes": -disliked, "disliked": disliked}[self.label]


class PocketClipReward:
    """The pocket CLIP's cosine of image and prompt, which replaces the published rewards.

    Args:
        prompts: One prompt for each image. They are encoded once.
        device: Device of the images.
    """

    def __init__(self, prompts: Sequence[str], device: torch.device) -> None:
        with torch.no_grad():
            self._texts = F.normalize(encode_text(list(prompts)), dim=-1).to(device)
        self._tower = load_image_tower(weights_path("clip_vision")).model.to(device).requires_grad_(False)

    def __call__(self, images: Tensor) -> Tensor:
        embeddings = F.normalize(self._tower(images.to(self._texts.device) * 2 - 1).image_embeds, dim=-1)
        return (embeddings * self._texts).sum(-1)


def without_prompts(history: UserHistory) -> UserHistory:
    """Return the history with empty prompts."""
    return UserHistory(tuple(PreferencePair(p.liked, p.disliked, "") for p in history.pairs), history.name)
