"""Agents: simulated users with a known utility over the attributes of posters.

The utility is a sum over the taste attributes, u = general + group + individual. Choices follow the Bradley-Terry model
(paper index section 1). The distribution is ours, because the papers give none; see configs/world.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from train.data.posters import ATTRIBUTES, TASTE, Attributes

WORLD = Path(__file__).parents[1] / "configs" / "world.yaml"
PEOPLE = WORLD.with_name("people.yaml")


@dataclass(frozen=True)
class Agent:
    """A simulated user. `weights[name][value]` is the utility of an attribute value."""

    name: str
    weights: dict[str, dict[str, float]]

    def utility(self, attributes: Attributes) -> float:
        """Return the true utility of an image with these attributes. Only differences are meaningful."""
        return sum(self.weights[name][getattr(attributes, name)] for name in TASTE)


@dataclass(frozen=True)
class World:
    """The population of agents. Vectors have one entry for each taste value, in the order of `TASTE`."""

    seed: int
    groups: int
    general: float
    group: float
    individual: float
    weights: dict[str, float]
    temperature: float

    @classmethod
    def load(cls, path: Path = WORLD) -> World:
        """Read the world's parameters from YAML."""
        return cls(**yaml.safe_load(Path(path).read_text()))

    @cached_property
    def scale(self) -> np.ndarray:
        """Multiplier of the deviations for every taste value, (24,)."""
        return np.repeat([self.weights[n] for n in TASTE], [len(ATTRIBUTES[n]) for n in TASTE])

    @cached_property
    def means(self) -> np.ndarray:
        """General plus group utility, (groups, 24), drawn from the world's seed."""
        rng = np.random.default_rng(self.seed)
        general = rng.normal(0, self.general, self.scale.size)
        return (general + rng.normal(0, self.group, (self.groups, self.scale.size))) * self.scale

    def sample(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sample agents. Returns utilities (count, 24) and groups (count,)."""
        group = rng.integers(self.groups, size=count)
        individual = rng.normal(0, self.individual, (count, self.scale.size)) * self.scale
        return self.means[group] + individual, group

    def log_evidence(self, gap: np.ndarray, difference: np.ndarray) -> np.ndarray:
        """Return log P(choice | group) for every group, (..., groups).

        The individual part is integrated out with the probit approximation of a logistic-normal integral (MacKay 1992).

        Args:
            gap: Mean utility difference of each group between liked and disliked image, (..., groups).
            difference: Difference of the one-hot taste values of liked and disliked image, (..., 24).
        """
        spread = (np.square(difference) @ np.square(self.individual * self.scale)) / self.temperature**2
        return -np.logaddexp(0, -gap / self.temperature / np.sqrt(1 + np.pi / 8 * spread)[..., None])

    def choose(self, gap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Sample Bradley-Terry choices from u(first) - u(second). True means that the first image is preferred."""
        return rng.random(gap.shape) < self.probability(gap)

    def probability(self, gap: np.ndarray) -> np.ndarray:
        """Return P(first preferred) = sigmoid(gap / temperature)."""
        return 1 / (1 + np.exp(-gap / self.temperature))

    def agent(self, utilities: np.ndarray, name: str) -> Agent:
        """Convert a utility vector (24,) to an `Agent` with named weights."""
        values = iter(utilities.tolist())
        return Agent(name, {n: {v: next(values) for v in ATTRIBUTES[n]} for n in TASTE})


TRAINING_USERS = 100_000


def training_users(world: World, count: int = TRAINING_USERS) -> np.ndarray:
    """Return the utilities (count, 24) of PrefDisc's training users. They are always the same."""
    utilities, _ = world.sample(count, np.random.default_rng([world.seed, 1]))
    return utilities


_OFFSETS = np.cumsum([0, *(len(ATTRIBUTES[n]) for n in TASTE)])[:-1]


def utility_of(utilities: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the utilities of posters from utility vectors (..., 24) and attribute indices (..., 6)."""
    columns = indices[..., 1:] + _OFFSETS
    return np.take_along_axis(utilities, columns, axis=-1).sum(-1)


def by_attribute(vectors):
    """Split vectors over all taste values (..., 24), arrays or tensors, by attribute name."""
    return {n: vectors[..., at : at + len(ATTRIBUTES[n])] for n, at in zip(TASTE, _OFFSETS.tolist(), strict=True)}


def random_indices(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Sample uniform attribute indices, (*shape, 6), in the order of `ATTRIBUTES`."""
    return np.stack([rng.integers(len(values), size=shape) for values in ATTRIBUTES.values()], axis=-1)


def draw_pairs(world: World, utilities: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Sample pairs of posters with the same subject, and order them by each agent's choice.

    Args:
        world: Population of the agents.
        utilities: Utilities of the agents, (n, 24).
        count: Pairs of each agent.
        rng: Random generator.

    Returns:
        Attribute indices (n, count, 2, 6), liked first.
    """
    pairs = random_indices((len(utilities), count, 2), rng)
    pairs[..., 1, 0] = pairs[..., 0, 0]
    u = utility_of(utilities[:, None, None, :], pairs)
    liked_first = world.choose(u[..., 0] - u[..., 1], rng)
    return np.where(liked_first[..., None, None], pairs, pairs[..., ::-1, :])


def load_person(name: str) -> Agent:
    """Load a bundled person by name.

    Raises:
        KeyError: There is no such person. The message lists the names.
    """
    people = yaml.safe_load(PEOPLE.read_text())
    if name not in people:
        raise KeyError(f"There is no bundled person {name!r}; there are {', '.join(people)}.")
    return Agent(name, people[name])
