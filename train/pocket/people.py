"""Makes the two bundled people: agents of opposite tastes, eight liked and disliked posters each, as image files."""

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
# Subjects left to the prompts of the demo and the evaluation: no bundled person's history shows what it is asked to
# paint, and no adapter was trained on it.
HELD_OUT_SUBJECTS = ("lighthouse", "cactus", "boat")
# Subjects left to the prompts by which a setting is chosen: kept out of the training of the adapter that it is chosen
# with (`train.pocket adapter_for_choosing`), which has then seen none of them, as none of the test's. Of the other nine
# they are those that the generator paints most readably with everything written out, wherever they stand: what a
# user's picture then loses of them is the adapter's doing.
VALIDATION_SUBJECTS = ("moon", "mountain", "mushroom")
PAIRS, SHOWN = 8, 5


def opposite(world: World, rng: np.random.Generator, candidates: int = 300) -> np.ndarray:
    """Of many agents, the two whose utilities are most unlike: (2, 24)."""
    utilities, _ = world.sample(candidates, rng)
    alike = np.corrcoef(utilities)
    return utilities[list(np.unravel_index(alike.argmin(), alike.shape))]


def make(folder: Path = FOLDER / "people", seed: int = 71) -> None:
    """Choose the people, write their tastes to configs/people.yaml and their histories to `folder`."""
    world, rng = World.load(), np.random.default_rng(seed)
    people = [world.agent(u, name) for u, name in zip(opposite(world, rng), NAMES, strict=True)]
    weights = {p.name: {n: {v: round(w, 3) for v, w in p.weights[n].items()} for n in TASTE} for p in people}
    PEOPLE.write_text(
        "# The bundled people's tastes: what each attribute's value adds to their utility.\n" + yaml.dump(weights)
    )
    for person in people:
        write_history(world, person, folder / person.name, rng)


def write_history(world: World, person: Agent, folder: Path, rng: np.random.Generator) -> None:
    """Eight pairs, each the best and worst of a few posters in the person's own eyes: `pairs.json` and PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs, free = [], [s for s in ATTRIBUTES["subject"] if s not in HELD_OUT_SUBJECTS]
    for i in range(PAIRS):
        shown = [random_attributes(rng, subject=free[i]) for _ in range(SHOWN)]
        taste = [person.utility(a) / world.temperature + rng.gumbel() for a in shown]
        row = {"prompt": subject_prompt(shown[0])}
        for side, poster in (("liked", shown[int(np.argmax(taste))]), ("disliked", shown[int(np.argmin(taste))])):
            row[side] = f"{side}_{i}.png"
            Image.fromarray(draw(poster, rng)).save(folder / row[side], optimize=True)
        pairs.append(row)
    (folder / "pairs.json").write_text(json.dumps({"name": person.name, "pairs": pairs}, indent=2) + "\n")
