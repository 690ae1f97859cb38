"""The rounds of the soak test. Each round leaves the server unchanged, except for ratings."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.comfyui import Client, Interrupted, Node
from tests.nodes.graphs import Pocket

PEOPLE = tuple(f"soak {i}" for i in range(6))
SIZES = ((96, 96), (96, 128), (160, 96), (192, 192))
SUBJECTS = ("a lighthouse", "a cat", "a house", "a fish")
MAX_RATINGS = 24
"""Maximum number of ratings per person. Further ratings are undone, so that the work per round does not grow. The
number is even, so that there are as many likes as dislikes."""


@dataclass
class Soak:
    """The state of a run.

    Attributes:
        client: The client of the server.
        rng: Draws people, sizes, masks and ratings.
        reference_pictures: Distinct digests of the fixed graph's pictures. There is only one if all are equal.
    """

    client: Client
    rng: random.Random
    prompts: int = 0
    ratings: int = 0
    interrupted: int = 0
    rated: dict[str, int] = field(default_factory=dict)
    reference_pictures: set[str] = field(default_factory=set)

    def run(self, pocket: Pocket, **options):
        """Run a graph, and count it as a prompt."""
        self.prompts += 1
        return self.client.run(pocket.graph, **options)

    def post(self, path: str, body: dict) -> None:
        """Post JSON."""
        self.client.request(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def rate(self, person: str, digests: list[str]) -> None:
        """Like half of the images and dislike the others. Keep at most `MAX_RATINGS` ratings."""
        route = f"/prefgen/profiles/{person.replace(' ', '%20')}"
        for i, digest in enumerate(self.rng.sample(digests, len(digests))):
            self.post(f"{route}/ratings", {"image": digest, "liked": i % 2 == 0})
            self.ratings += 1
        self.rated[person] = self.rated.get(person, 0) + len(digests)
        while self.rated[person] > MAX_RATINGS:
            self.post(f"{route}/undo", {})
            self.rated[person] -= 1


def paint(state: Soak) -> None:
    """Queue, rate, and queue again with the new ratings."""
    person = state.rng.choice(PEOPLE)
    digests = _paint(state, person, masked=False)
    state.rate(person, digests)
    _paint(state, person, masked=state.rng.random() < 0.5)


def optimise(state: Soak) -> None:
    """Optimise the noise of a batch for a few iterations."""
    pocket = Pocket(batch=state.rng.choice((1, 2)))
    history = pocket.history(state.rng.randrange(100))
    pocket.save(pocket.optimised(pocket.preference(), history, iterations=3, seed=state.rng.randrange(2**32)))
    state.run(pocket)


def interrupt(state: Soak) -> None:
    """Interrupt a long noise optimisation at its first progress report."""
    pocket = Pocket()
    pocket.save(
        pocket.optimised(pocket.preference(), pocket.history(), iterations=500, seed=state.rng.randrange(2**32))
    )

    def stop(kind: str, data: dict) -> None:
        if kind == "progress":
            state.client.interrupt()

    try:
        state.run(pocket, on_event=stop)
    except Interrupted:
        state.interrupted += 1


def repeat(state: Soak) -> None:
    """Paint one fixed graph."""
    pocket = Pocket(batch=2)
    preference = pocket.preference()
    embedding = pocket.add("EncodeUserHistory", preference_model=preference, history=pocket.history())
    saved = pocket.save(pocket.paint(pocket.adapted(preference, embedding)))
    pixels = state.run(pocket).tensor(saved)
    state.reference_pictures.add(hashlib.sha256(pixels.tobytes()).hexdigest())


def plain(state: Soak) -> None:
    """Paint with ComfyUI's own nodes, except for loading the models."""
    width, height = state.rng.choice(SIZES)
    pocket = Pocket(batch=state.rng.choice((2, 4)), prompt=state.rng.choice(SUBJECTS))
    pocket.latent = pocket.add("EmptyLatentImage", width=width, height=height, batch_size=pocket.batch)
    pocket.add("PreviewImage", images=pocket.paint(pocket.model, seed=state.rng.randrange(2**32)))
    state.run(pocket)


def _paint(state: Soak, person: str, masked: bool) -> list[str]:
    """Paint for a person who may not have ratings yet, and return the digests of the pictures."""
    rng = state.rng
    pocket = Pocket(batch=rng.choice((2, 4)), prompt=rng.choice(SUBJECTS))
    width, height = rng.choice(SIZES)
    pocket.latent = pocket.add("EmptyLatentImage", width=width, height=height, batch_size=pocket.batch)
    preference, model = pocket.preference(), pocket.model
    if state.rated.get(person):
        history = pocket.add("LoadUserHistory", user=person)
        embedding = pocket.add("EncodeUserHistory", preference_model=preference, history=history)
        mask = {"mask": _half_mask(pocket, width, height)} if masked else {}
        model = pocket.adapted(preference, embedding, strength=rng.choice((0.5, 1.0)), **mask)
    images = pocket.paint(model, seed=rng.randrange(2**32))
    recorder = pocket.add("RecordPreference", images=images, profile=person, prompt=pocket.prompt)
    return state.run(pocket).of(recorder)["digests"]


def _half_mask(pocket: Pocket, width: int, height: int) -> Node:
    black = pocket.add("SolidMask", value=0.0, width=width, height=height)
    white = pocket.add("SolidMask", value=1.0, width=width // 2, height=height)
    return pocket.add("MaskComposite", destination=black, source=white, x=0, y=0, operation="add")


ROUNDS: dict[str, Callable[[Soak], None]] = {
    "paint": paint,
    "optimise": optimise,
    "interrupt": interrupt,
    "repeat": repeat,
    "plain": plain,
}
"""All rounds by name. A run draws its rounds with equal probability."""

CONTROL = "plain"
