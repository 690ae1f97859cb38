"""Agents: simulated users whose utility over a poster's attributes is known.

An agent's utility is additive over the taste attributes, u = general + group + individual, and its choices are
Bradley-Terry. method.md section 1; the distribution is ours (the papers give none) and lives in configs/world.yaml.
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
    """One simulated user: `weights[name][value]` is what an attribute's value adds to the utility."""

    name: str
    weights: dict[str, dict[str, float]]

    def utility(self, attributes: Attributes) -> float:
        """The agent's true utility of an image with these attributes (no unit; differences matter)."""
        return sum(self.weights[name][getattr(attributes, name)] for name in TASTE)


@dataclass(frozen=True)
class World:
    """The population agents are drawn from. Vectors are over all taste values, in the order of `TASTE`."""

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
        """(24,) the deviation multiplier of every taste value."""
        return np.repeat([self.weights[n] for n in TASTE], [len(ATTRIBUTES[n]) for n in TASTE])

    @cached_property
    def means(self) -> np.ndarray:
        """(groups, 24) general plus group utility: drawn once, from the world's own seed."""
        rng = np.random.default_rng(self.seed)
        general = rng.normal(0, self.general, self.scale.size)
        return (general + rng.normal(0, self.group, (self.groups, self.scale.size))) * self.scale

    def sample(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw agents: utilities (count, 24) and the group of each (count,)."""
        group = rng.integers(self.groups, size=count)
        individual = rng.normal(0, self.individual, (count, self.scale.size)) * self.scale
        return self.means[group] + individual, group

    def log_evidence(self, gap: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """What a choice says of every group: log P(chosen as it was | group), for pairs (..., 24) of taste values,
        liked less disliked (`shown`), and each group's mean utility gap of them (..., groups).

        The individual part is integrated out by the probit approximation of a logistic of a normal (MacKay, 1992).
        """
        spread = (np.square(shown) @ np.square(self.individual * self.scale)) / self.temperature**2
        return -np.logaddexp(0, -gap / self.temperature / np.sqrt(1 + np.pi / 8 * spread)[..., None])

    def choose(self, gap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Bradley-Terry choices: True where the first is preferred, given u(first) - u(second)."""
        return rng.random(gap.shape) < self.probability(gap)

    def probability(self, gap: np.ndarray) -> np.ndarray:
        """P(first preferred) = sigmoid(gap / temperature)."""
        return 1 / (1 + np.exp(-gap / self.temperature))

    def agent(self, utilities: np.ndarray, name: str) -> Agent:
        """A utility vector (24,) as an `Agent` with named weights."""
        values = iter(utilities.tolist())
        return Agent(name, {n: {v: next(values) for v in ATTRIBUTES[n]} for n in TASTE})


TRAINING_USERS = 100_000


def training_users(world: World, count: int = TRAINING_USERS) -> np.ndarray:
    """The utilities (count, 24) of the users that PrefDisc is trained on: always the same, and nobody else's."""
    utilities, _ = world.sample(count, np.random.default_rng([world.seed, 1]))
    return utilities


_OFFSETS = np.cumsum([0, *(len(ATTRIBUTES[n]) for n in TASTE)])[:-1]


def utility_of(utilities: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Utilities of posters: vectors (..., 24) and full attribute indices (..., 6) -> (...)."""
    columns = indices[..., 1:] + _OFFSETS
    return np.take_along_axis(utilities, columns, axis=-1).sum(-1)


def by_attribute(vectors):
    """Vectors over all taste values, (..., 24), array or tensor -> attribute name -> its own values' part."""
    return {n: vectors[..., at : at + len(ATTRIBUTES[n])] for n, at in zip(TASTE, _OFFSETS.tolist(), strict=True)}


def random_indices(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform attribute indices, (*shape, 6) in the order of `ATTRIBUTES`."""
    return np.stack([rng.integers(len(values), size=shape) for values in ATTRIBUTES.values()], axis=-1)


def draw_pairs(world: World, utilities: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs of posters of one subject, ordered by each agent's choice.

    utilities (n, 24) -> attribute indices (n, count, 2, 6): [..., 0, :] is the liked one.
    """
    pairs = random_indices((len(utilities), count, 2), rng)
    pairs[..., 1, 0] = pairs[..., 0, 0]
    u = utility_of(utilities[:, None, None, :], pairs)
    liked_first = world.choose(u[..., 0] - u[..., 1], rng)
    return np.where(liked_first[..., None, None], pairs, pairs[..., ::-1, :])


def load_person(name: str) -> Agent:
    """One of the bundled people, by name. Raises KeyError naming those there are."""
    people = yaml.safe_load(PEOPLE.read_text())
    if name not in people:
        raise KeyError(f"There is no bundled person {name!r}; there are {', '.join(people)}.")
    return Agent(name, people[name])
