"""Graphs and requests about profiles on the real server."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from tests.comfyui import Client, Graph, Node, Server
from tests.nodes import taste

ROOT = "/prefgen/profiles"


@dataclass(frozen=True)
class Answer:
    """What a route said: its status, its headers, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One request as it is written here: nothing tidies the path. A dictionary travels as JSON."""
    if isinstance(body, dict):
        body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"} | headers
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names, encode_chunked="Transfer-Encoding" in names)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def recorded(graph: Graph, profile: str, batch: int = 4, seed: int = 0, **inputs) -> Node:
    """RecordPreference of noise images; `inputs` replace the defaults."""
    given = {"images": taste.noise(graph, batch=batch, seed=seed), "profile": profile, "prompt": "a cat"} | inputs
    return graph.add("RecordPreference", **given)


def record(comfy: Client, profile: str, **inputs) -> dict:
    """Run RecordPreference; what it showed."""
    graph = Graph()
    node = recorded(graph, profile, **inputs)
    return comfy.run(graph).of(node)
