"""Agents that nobody was trained on, who look at pictures and say which they like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from demo.learn.config import LearnConfig
from train.data.agents import Agent, World
from train.data.profiles import named, profiles
from train.evaluate.choice_trials import RNG_STREAM
from train.evaluate.judge import Judge


@dataclass(frozen=True)
class SimulatedRater:
    """An agent that sees with the judge's judge. likes, dislikes: the values it likes and dislikes most, to tell."""

    agent: Agent
    judge: Judge
    likes: tuple[str, ...]
    dislikes: tuple[str, ...]

    def utilities(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """The true utility of each picture, (n,): the agent's, of the attributes that the judge reads in it."""
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
        read = self.judge.predict(torch.from_numpy(pixels).movedim(-1, 1))
        return np.array([self.agent.utility(attributes) for attributes in read])


def rate_pictures(utilities: np.ndarray, shown: Sequence[float] = ()) -> dict[int, bool]:
    """Which pictures of a batch are liked (True) and disliked (False), by place: utilities (n,) -> place -> liked.

    As a person judges: by what they are used to. A picture is liked that is better than the mean of all that this agent
    has been shown, and disliked that is worse. shown: the utilities of the rounds before. Where all are alike none is
    rated.
    """
    usual = np.mean([*shown, *utilities])
    return {place: bool(value > usual) for place, value in enumerate(utilities) if not np.isclose(value, usual)}


def sample_raters(config: LearnConfig, judge: Judge) -> list[SimulatedRater]:
    """The agents of a config, from a stream of their own: none is of a training, or of another evaluation."""
    world = World.load()
    tastes, _ = world.sample(config.agents, np.random.default_rng([RNG_STREAM, 9, 1 + config.seed]))
    liked, disliked = profiles(tastes)
    return [
        SimulatedRater(world.agent(taste, config.profile(i)), judge, tuple(named(liked[i])), tuple(named(disliked[i])))
        for i, taste in enumerate(tastes)
    ]
