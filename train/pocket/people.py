"""Creates the two bundled example users: agents with opposite tastes, with eight pairs of posters per agent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from prefgen.pocket.shapes import FOLDER
from train.data.agents import PEOPLE, Agent, World
from train.data.posters import ATTRIBUTES, TASTE, draw, random_attributes, subject_prompt

NAMES = ("ada", "bo")
# Subjects reserved for the prompts of the demo and the evaluation. No bundled history and no adapter training contains
# them.
HELD_OUT_SUBJECTS = ("lighthouse", "cactus", "boat")
# Subjects reserved for the prompts that select settings. `train.pocket adapter_for_choosing` trains the adapter for
# this selection without them. Of the remaining nine subjects, these three are the most recognisable in images generated
# from full captions. So if a subject becomes less recognisable, the adapter is the cause.
VALIDATION_SUBJECTS = ("moon", "mountain", "mushroom")
PAIRS, SHOWN = 8, 5


def opposite(world: World, rng: np.random.Generator, candidates: int = 300) -> np.ndarray:
    """Sample candidates, and return the utilities (2, 24) of the two agents with the most dissimilar tastes."""
    utilities, _ = world.sample(candidates, rng)
    alike = np.corrcoef(utilities)
    return utilities[list(np.unravel_index(alike.argmin(), alike.shape))]


def make(folder: Path = FOLDER / "people", seed: int = 71) -> None:
    """Select the users, and write their tastes to configs/people.yaml and their histories to `folder`."""
    world, rng = World.load(), np.random.default_rng(seed)
    people = [world.agent(u, name) for u, name in zip(opposite(world, rng), NAMES, strict=True)]
    weights = {p.name: {n: {v: round(w, 3) for v, w in p.weights[n].items()} for n in TASTE} for p in people}
    PEOPLE.write_text("# Tastes of the bundled users: the utility of each attribute value.\n" + yaml.dump(weights))
    for person in people:
        write_history(world, person, folder / person.name, rng)


def write_history(world: World, person: Agent, folder: Path, rng: np.random.Generator) -> None:
    """Write eight pairs as `pairs.json` and PNG files. A pair is the user's best and worst of `SHOWN` posters."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs, free = [], [s for s in ATTRIBUTES["subject"] if s not in HELD_OUT_SUBJECTS]
    for i in range(PAIRS):
        candidates = [random_attributes(rng, subject=free[i]) for _ in range(SHOWN)]
        taste = [person.utility(a) / world.temperature + rng.gumbel() for a in candidates]
        row = {"prompt": subject_prompt(candidates[0])}
        best, worst = candidates[int(np.argmax(taste))], candidates[int(np.argmin(taste))]
        for side, poster in (("liked", best), ("disliked", worst)):
            row[side] = f"{side}_{i}.png"
            Image.fromarray(draw(poster, rng)).save(folder / row[side], optimize=True)
        pairs.append(row)
    (folder / "pairs.json").write_text(json.dumps({"name": person.name, "pairs": pairs}, indent=2) + "\n")
