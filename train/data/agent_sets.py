"""Writes datasets of agents: pairs of drawn posters, the agents' true tastes, and the limits of prediction.

`python -m train.data.agent_sets --users 30 --jaccard 0.8 --seed 1 --split test --out sets/thirty`

In addition to `users.jsonl` and the images, a dataset has `agents.json` (the world, and the group, profile, utilities
and poster attributes of each agent) and `limits.json` (see train.data.limits: how well the choices of each split can be
predicted from the first eight pairs).
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from train.data.agents import World, utility_of
from train.data.limits import choose_penalty, limits
from train.data.posters import (
    ATTRIBUTES,
    SIZE,
    SPLITS,
    TASTE,
    Attributes,
    caption,
    combinations,
    draw,
    subject_prompt,
)
from train.data.profiles import draw_apart, profiles, value_names
from train.data.user_sets import (
    IMAGES,
    Pair,
    SetError,
    User,
    new_set,
    write_file,
    write_json,
    write_users,
)

AGENTS, LIMITS = "agents.json", "limits.json"
HISTORY = 8  # history pairs; paper index section 1
STREAM = 20261121  # separates these random numbers from every other use of the same seed
LEAST_CHOICES = 2000  # minimum number of choices for limits; agents of smaller datasets choose in additional pairs
PENALTY_AGENTS = 500  # agents that select the regression's penalty; none of them is in a dataset


@dataclass(frozen=True)
class AgentSetConfig:
    """Settings of a dataset. Posters have the attribute combinations of their split.

    Attributes:
        users: Number of agents in `split`.
        seed: Random seed.
        split: Split of the agents.
        validation: Number of further agents in split "validation".
        jaccard: Minimum Jaccard distance between profiles, or None for no minimum.
        pairs: Pairs of each agent. 10 give 10 liked and 10 disliked images, as in 001.
        size: Side of the posters in pixels.
    """

    users: int
    seed: int
    split: str = "train"
    validation: int = 0
    jaccard: float | None = None
    pairs: int = 10
    size: int = SIZE

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise SetError(f"--split is {self.split!r}; expected one of {', '.join(SPLITS)}.")
        if self.users < 1 or self.validation < 0 or self.pairs < 2:
            raise SetError(
                f"--users, --validation and --pairs are {self.users}, {self.validation} and {self.pairs}; expected at "
                "least 1, 0 and 2."
            )
        if self.jaccard is not None and not 0 <= self.jaccard <= 1:
            raise SetError(f"--jaccard is {self.jaccard}; expected 0 to 1.")


@dataclass(frozen=True)
class Agents:
    """Agents of one split, with attribute indices of their pairs (n, p, 2, 6), liked first."""

    names: tuple[str, ...]
    split: str
    utilities: np.ndarray
    groups: np.ndarray
    pairs: np.ndarray


def choose_pairs(world: World, utilities: np.ndarray, count: int, split: str, rng: np.random.Generator) -> np.ndarray:
    """Sample pairs of different posters with the same subject from a split, ordered by each agent's choice.

    Returns:
        Attribute indices (n, count, 2, 6), liked first, for utilities (n, 24).
    """
    known = combinations(split)
    shape = (len(utilities), count)
    first = rng.integers(known.shape[1], size=shape)
    second = (first + rng.integers(1, known.shape[1], size=shape)) % known.shape[1]
    pairs = known[rng.integers(len(known), size=shape)[..., None], np.stack([first, second], axis=-1)]
    u = utility_of(utilities[:, None, None], pairs)
    first_preferred = world.choose(u[..., 0] - u[..., 1], rng)
    return np.where(first_preferred[..., None, None], pairs, pairs[..., ::-1, :])


def draw_agents(world: World, config: AgentSetConfig) -> list[Agents]:
    """Sample the agents of a dataset by split. A Jaccard distance also holds between the splits."""
    rng = np.random.default_rng([STREAM, config.seed])
    total = config.users + config.validation
    if config.jaccard is None:
        utilities, groups = world.sample(total, rng)
    else:
        utilities, groups = draw_apart(world, total, config.jaccard, rng)
    names = tuple(f"agent-{config.seed}-{i:05d}" for i in range(total))
    parts = {config.split: np.arange(config.users)}
    if config.validation:
        rest = np.arange(config.users, total)
        parts["validation"] = np.concatenate([parts.get("validation", rest[:0]), rest])
    return [
        Agents(
            tuple(names[i] for i in rows),
            split,
            utilities[rows],
            groups[rows],
            choose_pairs(world, utilities[rows], config.pairs, split, rng),
        )
        for split, rows in parts.items()
    ]


def measure_limits(world: World, agents: list[Agents], seed: int) -> dict[str, object]:
    """Measure the limits of each split on the pairs after the first eight, or on the last pair if there are fewer.

    If these are too few choices, the agents choose in additional pairs. The ideal observer's prior is that of the
    world, even if agents were selected by their distance.
    """
    rng = np.random.default_rng([STREAM, seed, 1])
    history_length = min(HISTORY, agents[0].pairs.shape[1] - 1)
    others, _ = world.sample(PENALTY_AGENTS, rng)
    known = choose_pairs(world, others, 2 * history_length, "validation", rng)
    penalty = choose_penalty(known[:, :history_length], known[:, history_length:])
    limits_by_split = {}
    for part in agents:
        own = part.pairs[:, history_length:]
        more = max(0, math.ceil(LEAST_CHOICES / len(own)) - own.shape[1])
        targets = np.concatenate([own, choose_pairs(world, part.utilities, more, part.split, rng)], axis=1)
        limits_by_split[part.split] = {
            "choices": targets.shape[0] * targets.shape[1],
            **limits(world, part.utilities, part.pairs[:, :history_length], targets, penalty, rng),
        }
    return {"history": history_length, "penalty": penalty, "limits": limits_by_split}


def write_agent_set(out: Path, config: AgentSetConfig, progress=lambda agents: agents) -> dict[str, object]:
    """Write a dataset to `out`, and return its limits.

    Args:
        out: Folder to create.
        config: Settings of the dataset.
        progress: Wraps the iteration over agents.

    Raises:
        SetError: `out` exists, or too few agents have the minimum distance.
    """
    world = World.load()
    agents = draw_agents(world, config)
    with new_set(out) as folder:
        rows = [(part, i) for part in agents for i in range(len(part.names))]
        write_users(folder, _write_images(folder, progress(rows), config))
        write_file(folder / AGENTS, _agents_json(world, agents, config).encode())
        report = measure_limits(world, agents, config.seed)
        write_json(folder / LIMITS, report)
    return report


def load_agents(folder: Path) -> tuple[World, list[Agents]]:
    """Read `agents.json` of a dataset: the world, and the agents of each split.

    Raises:
        SetError: The file is missing or malformed.
    """
    file = Path(folder) / AGENTS
    try:
        description = json.loads(file.read_text())
        parts: dict[str, list[dict]] = {}
        for agent in description["agents"]:
            parts.setdefault(agent["split"], []).append(agent)
        return World(**description["world"]), [_agents(split, rows) for split, rows in parts.items()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetError(
            f"{file} does not describe agents ({error!r}). Pass a dataset of train.data.agent_sets."
        ) from error


def _write_images(folder: Path, rows: Iterable[tuple[Agents, int]], config: AgentSetConfig) -> Iterator[User]:
    for part, i in rows:
        user, pairs = part.names[i], []
        for j, pair_indices in enumerate(part.pairs[i]):
            names = [f"{IMAGES}/{user}/{j:02d}-{side}.webp" for side in ("liked", "disliked")]
            for side, (name, indices) in enumerate(zip(names, pair_indices, strict=True)):
                rng = np.random.default_rng([STREAM, config.seed, int(user[-5:]), j, side])
                picture = io.BytesIO()
                drawn = draw(Attributes.from_indices(indices), rng, config.size)
                Image.fromarray(drawn).save(picture, "WEBP", lossless=True)
                write_file(folder / name, picture.getvalue())
            liked = Attributes.from_indices(pair_indices[0])
            pairs.append(Pair(*names, subject_prompt(liked), caption(liked)))
        yield User(user, part.split == "train", part.split, tuple(pairs))


def _agents(split: str, rows: list[dict]) -> Agents:
    utilities, groups, posters = (np.array([row[name] for row in rows]) for name in ("utilities", "group", "posters"))
    return Agents(tuple(row["user"] for row in rows), split, utilities, groups, posters)


def _agents_json(world: World, agents: list[Agents], config: AgentSetConfig) -> str:
    """Return the content of `agents.json`, with one agent on each line."""
    lines = []
    for part in agents:
        liked, disliked = profiles(part.utilities)
        for i, user in enumerate(part.names):
            profile = {"liked": value_names(liked[i]), "disliked": value_names(disliked[i])}
            numbers = {"utilities": part.utilities[i].tolist(), "posters": part.pairs[i].tolist()}
            agent = {"user": user, "split": part.split, "group": int(part.groups[i]), **profile, **numbers}
            lines.append(json.dumps(agent))
    values = {name: list(of) for name, of in ATTRIBUTES.items()}
    head = json.dumps({"set": asdict(config), "world": asdict(world), "attributes": values, "taste": TASTE})
    return head[:-1] + ', "agents": [\n' + ",\n".join(lines) + "\n]}\n"


def main(arguments: list[str] | None = None) -> None:
    """Write the dataset and print its limits as one JSON object, the last line."""
    parser = argparse.ArgumentParser(prog="python -m train.data.agent_sets", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    parser.add_argument("--users", type=int, required=True, help="number of agents")
    parser.add_argument("--seed", type=int, required=True, help="random seed; the same seed gives the same dataset")
    parser.add_argument("--split", default="train", choices=SPLITS, help="split of the agents and posters")
    parser.add_argument("--validation", type=int, default=0, help="number of further agents in split validation")
    parser.add_argument("--jaccard", type=float, help="minimum Jaccard distance between the profiles of two agents")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of each agent (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE, help="side of the posters in pixels (default: %(default)s)")
    options = vars(parser.parse_args(arguments))
    out = options.pop("out")
    try:
        report = write_agent_set(out, AgentSetConfig(**options), lambda rows: tqdm(rows, desc="agents", unit="agent"))
    except SetError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps({"out": str(out), **report}))


if __name__ == "__main__":
    main()
