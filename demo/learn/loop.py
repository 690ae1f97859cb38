"""The loop: queue, rate through the routes, queue again. Beside each picture the same prompt and noise, for nobody."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from PIL import Image

from demo.learn.agents import Critic, opinions
from demo.learn.plan import LearnPlan
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
class Queued:
    """A round's graph. record: the node that shows the pictures to rate. plain: the node that shows the plain ones."""

    graph: Graph
    record: Node
    plain: Node


def round_graph(plan: LearnPlan, agent: int, turn: int, knows: bool) -> Queued:
    """One batch for an agent, as workflows/quickstart.json paints it, shown by Record Preference; and the same batch
    without the adapter. knows: its profile has ratings to read; without them the plain batch is what it sees."""
    graph, how, profile, prompt = Graph(), plan.how, plan.profile(agent), plan.prompt(agent, turn)
    add = graph.add
    pocket = add("LoadPocketGenerator")
    sampling = {
        "positive": add("CLIPTextEncode", clip=pocket[1], text=prompt),
        "negative": add("CLIPTextEncode", clip=pocket[1], text=""),
        "latent_image": add("EmptyLatentImage", width=how.size, height=how.size, batch_size=plan.images),
        **{"seed": plan.noise(agent, turn), "steps": how.steps, "cfg": how.cfg, "denoise": 1.0},
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
    return Queued(graph, shown(painted(adapted())) if knows else plain, plain)


def rate(client: Client, profile: str, digest: str, liked: bool, prompt: str) -> dict:
    """Like or dislike an image that Record Preference has shown, as docs/routes.md has it; returns the answer."""
    body = json.dumps({"image": digest, "liked": liked, "prompt": prompt}).encode()
    answer = client.request(f"/prefgen/profiles/{quote(profile)}/ratings", body, {"Content-Type": "application/json"})
    return json.loads(answer)


def play(
    client: Client, plan: LearnPlan, critic: Critic, agent: int, before: list[Round], knows: bool
) -> tuple[Round, bool]:
    """An agent's next round. Returns it, and whether the profile now has a liked image, from which it can be read."""
    turn = len(before)
    queued = round_graph(plan, agent, turn, knows)
    result = client.run(queued.graph)
    pictures, plain = tuple(result.pictures(queued.record)), tuple(result.pictures(queued.plain))
    utility, prompt = critic.utilities(pictures), plan.prompt(agent, turn)
    shown = [float(value) for done in before for value in done.utility]
    ratings, digests = opinions(utility, shown), result.of(queued.record)["digests"]
    for place, liked in ratings.items():
        told = rate(client, plan.profile(agent), digests[place], liked, prompt)
        knows = told["liked"] > 0
    return Round(prompt, pictures, plain, utility, critic.utilities(plain), ratings), knows


def learn(
    client: Client, plan: LearnPlan, critics: list[Critic], on_round: Callable[[int], object] = lambda turn: None
) -> list[list[Round]]:
    """All rounds of all agents, by agent. on_round: called with the round's number, from 0, after every agent's."""
    played: list[list[Round]] = [[] for _ in critics]
    knows = [False] * len(critics)
    for turn in range(plan.rounds):
        for agent, critic in enumerate(critics):
            done, knows[agent] = play(client, plan, critic, agent, played[agent], knows[agent])
            played[agent].append(done)
            on_round(turn)
    return played
