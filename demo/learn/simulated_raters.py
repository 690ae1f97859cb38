"""Simulated users that rate pictures by the true utility of the attributes that the judge predicts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from demo.learn.config import LearnConfig
from train.data.agents import Agent, World
from train.data.profiles import profiles, value_names
from train.evaluate.choice_trials import RNG_STREAM
from train.evaluate.judge import Judge


@dataclass(frozen=True)
class SimulatedRater:
    """A simulated user that rates pictures.

    Attributes:
        agent: The simulated user.
        judge: Classifier of poster attributes.
        likes: The attribute values that the agent likes most, for display.
        dislikes: The attribute values that the agent dislikes most, for display.
    """

    agent: Agent
    judge: Judge
    likes: tuple[str, ...]
    dislikes: tuple[str, ...]

    def utilities(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Compute the true utility of each picture, (n,), from the attributes that the judge predicts."""
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
        predictions = self.judge.predict(torch.from_numpy(pixels).movedim(-1, 1))
        return np.array([self.agent.utility(attributes) for attributes in predictions])


def rate_pictures(utilities: np.ndarray, previous: Sequence[float] = ()) -> dict[int, bool]:
    """Rate the pictures of a batch.

    A picture is liked if its utility is above the mean of all pictures that the agent has seen, and disliked if it is
    below. Pictures at the mean are not rated.

    Args:
        utilities: Utilities of the batch, (n,).
        previous: Utilities of the pictures of earlier rounds.

    Returns:
        Picture index -> liked (True) or disliked (False).
    """
    mean = np.mean([*previous, *utilities])
    return {index: bool(value > mean) for index, value in enumerate(utilities) if not np.isclose(value, mean)}


def sample_raters(config: LearnConfig, judge: Judge) -> list[SimulatedRater]:
    """Sample the agents, from a random stream that no training and no other evaluation uses."""
    world = World.load()
    tastes, _ = world.sample(config.agents, np.random.default_rng([RNG_STREAM, 9, 1 + config.seed]))
    liked, disliked = profiles(tastes)
    return [
        SimulatedRater(
            world.agent(taste, config.profile(i)), judge, tuple(value_names(liked[i])), tuple(value_names(disliked[i]))
        )
        for i, taste in enumerate(tastes)
    ]
