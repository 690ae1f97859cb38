"""The score of every row: of the pictures of several agents at once, each by its own agent's history."""

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
from train.evaluate.reno.rows import Score
from train.evaluate.reno.setting import Setting
from train.pocket.clip import encode_text


@dataclass(frozen=True)
class Scores:
    """What scores are made of. prefdisc: the checkpoint's, frozen. viper: the ViPer-like one, where there is one."""

    prefdisc: PrefDisc
    viper: PrefDisc | None = None

    def of(self, score: Score, agents: Agents, setting: Setting) -> Reward:
        """The reward of all m pictures of each of these agents, one agent's after the other: (n m, 3, H, W) -> (n m,).

        A preference and the pocket CLIP's cosine with the prompt are summed as the setting weighs them; the general
        reward is the cosine alone.
        """
        prompts = [prompt for own in agents.prompts for prompt in own]
        clip = PocketClipReward(prompts, self.prefdisc.device)
        if score == "general":
            reward = clip
        else:
            preference = self._preference(score, agents, setting)
            reward = WeightedRewards([(setting.preference, preference), (setting.clip, clip)])
        return AugmentedReward(reward, setting.views) if setting.views else reward

    def _preference(self, score: Score, agents: Agents, setting: Setting) -> Reward:
        if score == "viper":
            histories = [without_prompts(history) for history in agents.histories]
            # It never read a prompt: neither in a history nor at a target.
            own = [PreferenceReward(self.viper, self.viper.encode(h), objective=setting.by) for h in histories]
        else:
            known = list(zip(agents.prefixes, agents.prompts, strict=True))
            if score == "preference":
                own = [
                    PreferenceReward(self.prefdisc, prefix, prompts, objective=setting.by) for prefix, prompts in known
                ]
            else:
                own = [LabelReward(self.prefdisc, prefix, prompts, score) for prefix, prompts in known]
        return EachAgent(own, agents.seeds.shape[1])


@dataclass(frozen=True)
class EachAgent:
    """Pictures of several agents, `each` of every one: each agent's own reward."""

    rewards: Sequence[Reward]
    each: int

    def __call__(self, images: Tensor) -> Tensor:
        parts = images.split(self.each)
        return torch.cat([reward(part) for reward, part in zip(self.rewards, parts, strict=True)])


@dataclass(frozen=True)
class LabelReward:
    """One label's logit alone: M+ towards what is liked, -M- away from what is disliked (method.md section 4)."""

    prefdisc: PrefDisc
    prefix: HistoryPrefix
    prompts: Sequence[str]
    which: Literal["likes", "dislikes"]

    def __call__(self, images: Tensor) -> Tensor:
        liked, disliked = self.prefdisc.logits(self.prefix, images, self.prompts).float().unbind(-1)
        return liked if self.which == "likes" else -disliked


class PocketClipReward:
    """The pocket CLIP's cosine of image and prompt, in place of the published general rewards. Prompts are read once,
    one for each image."""

    def __init__(self, prompts: Sequence[str], device: torch.device) -> None:
        with torch.no_grad():
            self._texts = F.normalize(encode_text(list(prompts)), dim=-1).to(device)
        self._tower = load_image_tower(weights_path("clip_vision")).model.to(device).requires_grad_(False)

    def __call__(self, images: Tensor) -> Tensor:
        seen = F.normalize(self._tower(images.to(self._texts.device) * 2 - 1).image_embeds, dim=-1)
        return (seen * self._texts).sum(-1)


def without_prompts(history: UserHistory) -> UserHistory:
    """The same pairs as a model reads them that knows no prompts."""
    return UserHistory(tuple(PreferencePair(p.liked, p.disliked, "") for p in history.pairs), history.name)
