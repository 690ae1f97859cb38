"""Agents as a set on disk: their pairs of drawn posters, what they truly like, and how well they can be predicted.

`python -m train.data.agent_sets --users 30 --jaccard 0.8 --seed 1 --split test --out sets/thirty`

Beside `users.jsonl` and the images, a set has `agents.json` (the world, and each agent's group, profile, utilities and
posters' attributes) and `limits.json` (train.data.limits: how well the choices of each split's agents can be predicted
given their first eight pairs).
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
HISTORY = 8  # pairs that are given; method.md section 1
STREAM = 20261121  # keeps these agents apart from every other use of the same seed
LEAST_CHOICES = 2000  # that limits are measured by: where a set has fewer, its agents choose in more pairs
PENALTY_AGENTS = 500  # validation users of the regression's penalty: none of them is in a set


@dataclass(frozen=True)
class AgentSetConfig:
    """users: agents of `split`; validation: more, of split "validation". jaccard: the least distance between profiles,
    or None for agents as they come. pairs: each agent's; 10 make 10 liked and 10 disliked images, as in 001. size:
    pixels a side. Posters are of their split's combinations of attributes.
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
            raise SetError(f"there is no split {self.split!r}, expected one of {', '.join(SPLITS)}: correct --split.")
        if self.users < 1 or self.validation < 0 or self.pairs < 2:
            raise SetError(
                f"{self.users} users, {self.validation} for validation and {self.pairs} pairs were asked for, expected "
                "at least 1, 0 and 2: correct --users, --validation or --pairs."
            )
        if self.jaccard is not None and not 0 <= self.jaccard <= 1:
            raise SetError(f"the Jaccard distance is {self.jaccard}, expected 0 to 1: correct --jaccard.")


@dataclass(frozen=True)
class Agents:
    """Some agents of one split. utilities (n, 24), groups (n,), pairs (n, p, 2, 6): attribute indices, liked first."""

    names: tuple[str, ...]
    split: str
    utilities: np.ndarray
    groups: np.ndarray
    pairs: np.ndarray


def choose_pairs(world: World, utilities: np.ndarray, count: int, split: str, rng: np.random.Generator) -> np.ndarray:
    """Two different posters of one subject out of a split, ordered by each agent's choice.

    utilities (n, 24) -> attribute indices (n, count, 2, 6), liked first.
    """
    known = combinations(split)
    shape = (len(utilities), count)
    first = rng.integers(known.shape[1], size=shape)
    second = (first + rng.integers(1, known.shape[1], size=shape)) % known.shape[1]
    pairs = known[rng.integers(len(known), size=shape)[..., None], np.stack([first, second], axis=-1)]
    u = utility_of(utilities[:, None, None], pairs)
    kept = world.choose(u[..., 0] - u[..., 1], rng)
    return np.where(kept[..., None, None], pairs, pairs[..., ::-1, :])


def draw_agents(world: World, config: AgentSetConfig) -> list[Agents]:
    """The agents of a set, by split. With `jaccard` the distance also holds between the splits."""
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
    """The limits of each split: of the pairs after the first eight, given those (of the last, where there are fewer).

    Where these are few choices, the same agents choose in more pairs. The ideal observer's prior is the world's, also
    where agents were taken to be apart.
    """
    rng = np.random.default_rng([STREAM, seed, 1])
    given = min(HISTORY, agents[0].pairs.shape[1] - 1)
    others, _ = world.sample(PENALTY_AGENTS, rng)
    known = choose_pairs(world, others, 2 * given, "validation", rng)
    penalty = choose_penalty(known[:, :given], known[:, given:])
    found = {}
    for part in agents:
        own = part.pairs[:, given:]
        more = max(0, math.ceil(LEAST_CHOICES / len(own)) - own.shape[1])
        targets = np.concatenate([own, choose_pairs(world, part.utilities, more, part.split, rng)], axis=1)
        found[part.split] = {
            "choices": targets.shape[0] * targets.shape[1],
            **limits(world, part.utilities, part.pairs[:, :given], targets, penalty, rng),
        }
    return {"history": given, "penalty": penalty, "limits": found}


def write_agent_set(out: Path, config: AgentSetConfig, progress=lambda agents: agents) -> dict[str, object]:
    """Draw a set and write it to `out`; returns its limits. progress: wraps the iteration over agents.

    Raises SetError where `out` exists or agents so far apart are not found.
    """
    world = World.load()
    agents = draw_agents(world, config)
    with new_set(out) as folder:
        rows = [(part, i) for part in agents for i in range(len(part.names))]
        write_users(folder, _write_images(folder, progress(rows), config))
        write_file(folder / AGENTS, _described(world, agents, config).encode())
        found = measure_limits(world, agents, config.seed)
        write_json(folder / LIMITS, found)
    return found


def load_agents(folder: Path) -> tuple[World, list[Agents]]:
    """What `agents.json` of a set tells: the world, and the agents of each split.

    Raises SetError where the file is missing or is no such file.
    """
    file = Path(folder) / AGENTS
    try:
        told = json.loads(file.read_text())
        parts: dict[str, list[dict]] = {}
        for agent in told["agents"]:
            parts.setdefault(agent["split"], []).append(agent)
        return World(**told["world"]), [_agents(split, rows) for split, rows in parts.items()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetError(f"{file} does not describe agents ({error!r}): name a set made by agent_sets.") from error


def _write_images(folder: Path, rows: Iterable[tuple[Agents, int]], config: AgentSetConfig) -> Iterator[User]:
    for part, i in rows:
        user, pairs = part.names[i], []
        for j, shown in enumerate(part.pairs[i]):
            names = [f"{IMAGES}/{user}/{j:02d}-{side}.webp" for side in ("liked", "disliked")]
            for side, (name, indices) in enumerate(zip(names, shown, strict=True)):
                rng = np.random.default_rng([STREAM, config.seed, int(user[-5:]), j, side])
                picture = io.BytesIO()
                drawn = draw(Attributes.from_indices(indices), rng, config.size)
                Image.fromarray(drawn).save(picture, "WEBP", lossless=True)
                write_file(folder / name, picture.getvalue())
            liked = Attributes.from_indices(shown[0])
            pairs.append(Pair(*names, subject_prompt(liked), caption(liked)))
        yield User(user, part.split == "train", part.split, tuple(pairs))


def _agents(split: str, rows: list[dict]) -> Agents:
    utilities, groups, posters = (np.array([row[name] for row in rows]) for name in ("utilities", "group", "posters"))
    return Agents(tuple(row["user"] for row in rows), split, utilities, groups, posters)


def _described(world: World, agents: list[Agents], config: AgentSetConfig) -> str:
    """`agents.json`: one agent a line."""
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
    """The command: writes the set and prints its limits as one JSON object, the last line."""
    parser = argparse.ArgumentParser(prog="python -m train.data.agent_sets", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to be made")
    parser.add_argument("--users", type=int, required=True, help="how many agents")
    parser.add_argument("--seed", type=int, required=True, help="any integer: the same one gives the same set")
    parser.add_argument("--split", default="train", choices=SPLITS, help="the agents' split, and the posters'")
    parser.add_argument("--validation", type=int, default=0, help="how many more agents, of split validation")
    parser.add_argument("--jaccard", type=float, help="least Jaccard distance between the profiles of any two agents")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of each agent (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE, help="pixels a side (default: %(default)s)")
    given = vars(parser.parse_args(arguments))
    out = given.pop("out")
    try:
        found = write_agent_set(out, AgentSetConfig(**given), lambda rows: tqdm(rows, desc="agents", unit="agent"))
    except SetError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps({"out": str(out), **found}))


if __name__ == "__main__":
    main()
