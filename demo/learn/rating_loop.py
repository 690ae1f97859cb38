"""Runs the rounds of the learning demo: generates pictures, rates them through the HTTP routes, and repeats."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from PIL import Image

from demo.learn.config import LearnConfig
from demo.learn.simulated_raters import SimulatedRater, rate_pictures
from tests.comfyui import Client, Graph, Node


@dataclass(frozen=True)
class Round:
    """A round of one agent.

    Attributes:
        prompt: The prompt.
        pictures: The agent's pictures. In the first round they are the plain ones.
        plain: Plain pictures with the same prompt and noise.
        utility: True utilities of the pictures, (n,).
        plain_utility: True utilities of the plain pictures, (n,).
        ratings: Picture index -> liked (True) or disliked (False).
    """

    prompt: str
    pictures: tuple[Image.Image, ...]
    plain: tuple[Image.Image, ...]
    utility: np.ndarray
    plain_utility: np.ndarray
    ratings: dict[int, bool]


@dataclass(frozen=True)
class RoundGraph:
    """The graph of a round.

    Attributes:
        graph: The graph.
        record: Node that shows the pictures to rate.
        plain: Node that shows the plain pictures.
    """

    graph: Graph
    record: Node
    plain: Node


def round_graph(config: LearnConfig, agent: int, round_index: int, has_likes: bool) -> RoundGraph:
    """Build the graph of a round: a batch as in workflows/api/quickstart.json, and the same batch without the adapter.

    If the agent's profile has no likes (`has_likes` is False), the agent rates the plain batch.
    """
    graph, demo, profile, prompt = Graph(), config.sampling, config.profile(agent), config.prompt(agent, round_index)
    add = graph.add
    pocket = add("LoadPocketGenerator")
    sampling = {
        "positive": add("CLIPTextEncode", clip=pocket[1], text=prompt),
        "negative": add("CLIPTextEncode", clip=pocket[1], text=""),
        "latent_image": add("EmptyLatentImage", width=demo.size, height=demo.size, batch_size=config.images),
        **{"seed": config.noise(agent, round_index), "steps": demo.steps, "cfg": demo.cfg, "denoise": 1.0},
        **{"sampler_name": demo.sampler, "scheduler": demo.scheduler},
    }

    def generate(model: Node) -> Node:
        return add("VAEDecode", samples=add("KSampler", model=model, **sampling), vae=pocket[2])

    def adapted_model() -> Node:
        preference = add("LoadPreferenceModel", checkpoint="pocket")
        history = add("LoadUserHistory", user=profile)
        embedding = add("EncodeUserHistory", preference_model=preference, history=history)
        return add(
            "ApplyPreferenceAdapter",
            **{"model": pocket, "preference_model": preference, "embedding": embedding, "strength": demo.strength},
            **{
                "sem_strength": 1.0,
                "core_strength": 1.0,
                "img_strength": 1.0,
                "start_percent": 0.0,
                "end_percent": 1.0,
            },
        )

    def show(images: Node) -> Node:
        # Plain pictures use the same node, because PreviewImage rounds pixels differently. They are not rated.
        return add("RecordPreference", images=images, profile=profile, prompt=prompt)

    plain = show(generate(pocket))
    return RoundGraph(graph, show(generate(adapted_model())) if has_likes else plain, plain)


def rate(client: Client, profile: str, digest: str, liked: bool, prompt: str) -> dict:
    """Send a rating for an image that Record Preference has shown (see docs/routes.md), and return the response."""
    body = json.dumps({"image": digest, "liked": liked, "prompt": prompt}).encode()
    response = client.request(f"/prefgen/profiles/{quote(profile)}/ratings", body, {"Content-Type": "application/json"})
    return json.loads(response)


def run_round(
    client: Client, config: LearnConfig, rater: SimulatedRater, agent: int, previous: list[Round], has_likes: bool
) -> tuple[Round, bool]:
    """Run an agent's next round.

    Returns:
        The round, and whether the profile contains a liked image after it.
    """
    round_index = len(previous)
    nodes = round_graph(config, agent, round_index, has_likes)
    result = client.run(nodes.graph)
    pictures, plain = tuple(result.pictures(nodes.record)), tuple(result.pictures(nodes.plain))
    utility, prompt = rater.utilities(pictures), config.prompt(agent, round_index)
    previous_utilities = [float(value) for round_ in previous for value in round_.utility]
    ratings, digests = rate_pictures(utility, previous_utilities), result.of(nodes.record)["digests"]
    for index, liked in ratings.items():
        response = rate(client, config.profile(agent), digests[index], liked, prompt)
        has_likes = response["liked"] > 0
    return Round(prompt, pictures, plain, utility, rater.utilities(plain), ratings), has_likes


def run_rounds(
    client: Client,
    config: LearnConfig,
    raters: list[SimulatedRater],
    on_round: Callable[[int], object] = lambda round_index: None,
) -> list[list[Round]]:
    """Run all rounds of all agents, and return them by agent.

    After each agent's round, `on_round` is called with the index of the round.
    """
    rounds_by_agent: list[list[Round]] = [[] for _ in raters]
    has_likes = [False] * len(raters)
    for round_index in range(config.rounds):
        for agent, rater in enumerate(raters):
            finished, has_likes[agent] = run_round(
                client, config, rater, agent, rounds_by_agent[agent], has_likes[agent]
            )
            rounds_by_agent[agent].append(finished)
            on_round(round_index)
    return rounds_by_agent
