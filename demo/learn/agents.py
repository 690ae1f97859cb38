"""Agents that nobody was trained on, who look at pictures and say which they like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from demo.learn.plan import LearnPlan
from train.data.agents import Agent, World
from train.data.profiles import named, profiles
from train.evaluate.judge import Judge
from train.evaluate.trials import STREAM


@dataclass(frozen=True)
class Critic:
    """An agent that sees with the judge's eyes. likes, dislikes: the values it likes and dislikes most, to tell."""

    agent: Agent
    eyes: Judge
    likes: tuple[str, ...]
    dislikes: tuple[str, ...]

    def utilities(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """The true utility of each picture, (n,): the agent's, of the attributes that the judge reads in it."""
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
        read = self.eyes.read(torch.from_numpy(pixels).movedim(-1, 1))
        return np.array([self.agent.utility(attributes) for attributes in read])


def opinions(utilities: np.ndarray, shown: Sequence[float] = ()) -> dict[int, bool]:
    """Which pictures of a batch are liked (True) and disliked (False), by place: utilities (n,) -> place -> liked.

    As a person judges: by what they are used to. A picture is liked that is better than the mean of all that this agent
    has been shown, and disliked that is worse. shown: the utilities of the rounds before. Where all are alike none is
    rated.
    """
    usual = np.mean([*shown, *utilities])
    return {place: bool(value > usual) for place, value in enumerate(utilities) if not np.isclose(value, usual)}


def draw_critics(plan: LearnPlan, eyes: Judge) -> list[Critic]:
    """The agents of a plan, from a stream of their own: none is of a training, or of another evaluation."""
    world = World.load()
    tastes, _ = world.sample(plan.agents, np.random.default_rng([STREAM, 9, 1 + plan.seed]))
    liked, disliked = profiles(tastes)
    return [
        Critic(world.agent(taste, plan.profile(i)), eyes, tuple(named(liked[i])), tuple(named(disliked[i])))
        for i, taste in enumerate(tastes)
    ]
