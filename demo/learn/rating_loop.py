"""The loop: queue, rate through the routes, queue again. Beside each picture the same prompt and noise, for nobody."""

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
    """One round of one agent: its pictures, the plain ones of the same prompt and noise, both with their true utilities
    (n,), and what the agent liked (True) and disliked (False), by place. In the first round both are the same."""

    prompt: str
    pictures: tuple[Image.Image, ...]
    plain: tuple[Image.Image, ...]
    utility: np.ndarray
    plain_utility: np.ndarray
    ratings: dict[int, bool]


@dataclass(frozen=True)
class RoundGraph:
    """A round's graph. record: the node that shows the pictures to rate. plain: the node that shows the plain ones."""

    graph: Graph
    record: Node
    plain: Node


def round_graph(config: LearnConfig, agent: int, round_index: int, has_likes: bool) -> RoundGraph:
    """One batch for an agent, as workflows/quickstart.json paints it, shown by Record Preference; and the same batch
    without the adapter. has_likes: its profile has ratings to read; without them the plain batch is what it sees."""
    graph, how, profile, prompt = Graph(), config.sampling, config.profile(agent), config.prompt(agent, round_index)
    add = graph.add
    pocket = add("LoadPocketGenerator")
    sampling = {
        "positive": add("CLIPTextEncode", clip=pocket[1], text=prompt),
        "negative": add("CLIPTextEncode", clip=pocket[1], text=""),
        "latent_image": add("EmptyLatentImage", width=how.size, height=how.size, batch_size=config.images),
        **{"seed": config.noise(agent, round_index), "steps": how.steps, "cfg": how.cfg, "denoise": 1.0},
        **{"sampler_name": how.sampler, "scheduler": how.scheduler},
    }

    def painted(model: Node) -> Node:
        return add("VAEDecode", samples=add("KSampler", model=model, **sampling), vae=pocket[2])

    def adapted() -> Node:
        preference = add("LoadPreferenceModel", checkpoint="pocket")
        history = add("LoadUserHistory", user=profile)
        embedding = add("EncodeUserHistory", model=preference, history=history)
        return add(
            "ApplyPreferenceAdapter",
            **{"model": pocket, "preference_model": preference, "embedding": embedding, "strength": how.strength},
            **{"sem_strength": 1.0, "core_strength": 1.0, "img_strength": 1.0, "start": 0.0, "end": 1.0},
        )

    def shown(images: Node) -> Node:
        # Plain pictures are shown by the same node, and not rated: PreviewImage would round them otherwise.
        return add("RecordPreference", images=images, profile=profile, prompt=prompt)

    plain = shown(painted(pocket))
    return RoundGraph(graph, shown(painted(adapted())) if has_likes else plain, plain)


def rate(client: Client, profile: str, digest: str, liked: bool, prompt: str) -> dict:
    """Like or dislike an image that Record Preference has shown, as docs/routes.md has it; returns the answer."""
    body = json.dumps({"image": digest, "liked": liked, "prompt": prompt}).encode()
    answer = client.request(f"/prefgen/profiles/{quote(profile)}/ratings", body, {"Content-Type": "application/json"})
    return json.loads(answer)


def run_round(
    client: Client, config: LearnConfig, rater: SimulatedRater, agent: int, before: list[Round], has_likes: bool
) -> tuple[Round, bool]:
    """An agent's next round. Returns it, and whether the profile now has a liked image, from which it can be read."""
    round_index = len(before)
    round_graphs = round_graph(config, agent, round_index, has_likes)
    result = client.run(round_graphs.graph)
    pictures, plain = tuple(result.pictures(round_graphs.record)), tuple(result.pictures(round_graphs.plain))
    utility, prompt = rater.utilities(pictures), config.prompt(agent, round_index)
    shown = [float(value) for done in before for value in done.utility]
    ratings, digests = rate_pictures(utility, shown), result.of(round_graphs.record)["digests"]
    for place, liked in ratings.items():
        told = rate(client, config.profile(agent), digests[place], liked, prompt)
        has_likes = told["liked"] > 0
    return Round(prompt, pictures, plain, utility, rater.utilities(plain), ratings), has_likes


def run_rounds(
    client: Client,
    config: LearnConfig,
    raters: list[SimulatedRater],
    on_round: Callable[[int], object] = lambda round_index: None,
) -> list[list[Round]]:
    """All rounds of all agents, by agent. on_round: called with the round's number, from 0, after every agent's."""
    rounds_by_agent: list[list[Round]] = [[] for _ in raters]
    has_likes = [False] * len(raters)
    for round_index in range(config.rounds):
        for agent, rater in enumerate(raters):
            done, has_likes[agent] = run_round(client, config, rater, agent, rounds_by_agent[agent], has_likes[agent])
            rounds_by_agent[agent].append(done)
            on_round(round_index)
    return rounds_by_agent
