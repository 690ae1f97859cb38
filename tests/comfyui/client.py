"""A client of one server: posts graphs, follows them over the websocket, uploads and fetches files."""

import asyncio
import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
from PIL import Image

from .graph import Graph, Node
from .server import Server, ServerFailed


class PromptRefused(RuntimeError):
    """The server's validation refused the graph; `errors` maps node id -> what it said."""

    def __init__(self, answer: dict):
        self.errors = answer.get("node_errors") or {}
        details = [
            f"node {node} ({what['class_type']}): {error['message']}: {error['details']}"
            for node, what in self.errors.items()
            for error in what["errors"]
        ]
        super().__init__("; ".join(details) or json.dumps(answer.get("error", answer)))


class NodeError(RuntimeError):
    """A node raised an error; `message` is what the UI shows."""

    def __init__(self, report: dict):
        self.node_id: str = report["node_id"]
        self.node_type: str = report["node_type"]
        self.exception_type: str = report["exception_type"]
        self.message: str = report["exception_message"].strip()
        self.traceback: str = "".join(report["traceback"])
        super().__init__(f"node {self.node_id} ({self.node_type}) raised {self.exception_type}: {self.message}")


class Interrupted(RuntimeError):
    """The prompt was interrupted."""


@dataclass
class Result:
    """What one prompt did: `ui` by node id, progress as (node id, value, maximum), ids of cached nodes, seconds."""

    client: "Client"
    ui: dict[str, dict] = field(default_factory=dict)
    progress: list[tuple[str, float, float]] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    prompt: str = ""

    def of(self, node: Node | str) -> dict:
        """The `ui` dictionary of a node, empty if it showed nothing."""
        return self.ui.get(node.id if isinstance(node, Node) else node, {})

    def pictures(self, node: Node | str) -> list[Image.Image]:
        """The images that a node saved or previewed."""
        return [self.client.fetch(reference) for reference in self.of(node).get("images", [])]

    def remembered(self, node: Node | str, patience: float = 10.0) -> dict:
        """What the server's history keeps of a node. The history is written a moment after the prompt's end is told, so
        it is asked for up to `patience` seconds."""
        end = time.monotonic() + patience
        while not (told := json.loads(self.client.request(f"/history/{self.prompt}"))) and time.monotonic() < end:
            time.sleep(0.05)
        return told[self.prompt]["outputs"].get(node.id if isinstance(node, Node) else node, {})

    def pixels(self, node: Node | str) -> np.ndarray:
        """The same, as float32 in [0, 1] of shape (B, H, W, C)."""
        return np.stack([np.asarray(picture, np.float32) / 255 for picture in self.pictures(node)])

    def tensor(self, node: Node | str) -> np.ndarray:
        """What a `ProbeSave` node was given, at full precision."""
        return np.load(self.client.server.base / "output" / self.of(node)["npy"][0])


class Client:
    """Synchronous and for one thread; `interrupt` may be called from any thread or from `on_event`."""

    def __init__(self, server: Server):
        self.server = server
        self.id = uuid.uuid4().hex

    def run(
        self,
        graph: Graph | dict,
        on_event: Callable[[str, dict], None] | None = None,
        timeout: float = 300.0,
    ) -> Result:
        """Run a graph to its end.

        Args:
            graph: a `Graph` or an API-format dictionary.
            on_event: called with (type, data) of every message about this prompt.
            timeout: seconds after which the prompt is interrupted and TimeoutError raised.

        Raises:
            PromptRefused: validation refused it.
            NodeError: a node raised.
            Interrupted: it was interrupted.
            ServerFailed: the server is gone.
        """
        nodes = graph.api() if isinstance(graph, Graph) else graph
        try:
            return asyncio.run(asyncio.wait_for(self._run(nodes, on_event), timeout))
        except TimeoutError:
            self.interrupt()
            raise TimeoutError(f"the prompt did not end in {timeout:.0f} s; log:\n{self.server.log_tail()}") from None
        except aiohttp.ClientError as error:
            raise ServerFailed(f"lost the server: {error}\n{self.server.log_tail()}") from error

    async def _run(self, nodes: dict, on_event: Callable[[str, dict], None] | None) -> Result:
        result = Result(self)
        began = time.monotonic()
        async with (
            aiohttp.ClientSession(self.server.url) as session,
            session.ws_connect(f"/ws?clientId={self.id}", max_msg_size=0) as socket,
        ):
            async with session.post("/prompt", json={"prompt": nodes, "client_id": self.id}) as reply:
                answer = await reply.json()
                if reply.status != 200:
                    raise PromptRefused(answer)
            result.prompt = answer["prompt_id"]
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue  # previews are binary
                event = json.loads(message.data)
                if event["data"].get("prompt_id") != answer["prompt_id"]:
                    continue
                if on_event:
                    on_event(event["type"], event["data"])
                if take(result, event["type"], event["data"]):
                    result.seconds = time.monotonic() - began
                    return result
        raise ServerFailed(f"the server closed the connection.\n{self.server.log_tail()}")

    def upload(self, image: Image.Image | np.ndarray | Path | str, name: str | None = None) -> str:
        """Upload an image, float (H, W, 3) in [0, 1] or uint8 if an array; returns the name LoadImage takes."""
        body = io.BytesIO()
        to_picture(image).save(body, "PNG")
        boundary = uuid.uuid4().hex
        name = name or f"{uuid.uuid4().hex}.png"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        end = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n--{boundary}--\r\n'
        answer = self.request(
            "/upload/image",
            head.encode() + body.getvalue() + end.encode(),
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        return json.loads(answer)["name"]

    def fetch(self, reference: dict) -> Image.Image:
        """The image that a `ui` reference (filename, subfolder, type) names."""
        picture = Image.open(io.BytesIO(self.request("/view?" + urllib.parse.urlencode(reference))))
        picture.load()
        return picture

    def object_info(self, node_id: str | None = None) -> dict:
        """What the server tells of its nodes, or of one."""
        info = json.loads(self.request("/object_info" + (f"/{node_id}" if node_id else "")))
        return info[node_id] if node_id else info

    def interrupt(self) -> None:
        """Ask the server to stop the prompt it is running."""
        self.request("/interrupt", b"{}", {"Content-Type": "application/json"})

    def free(self) -> None:
        """Ask the server to unload models and forget cached results."""
        body = json.dumps({"unload_models": True, "free_memory": True}).encode()
        self.request("/free", body, {"Content-Type": "application/json"})

    def request(self, path: str, body: bytes | None = None, headers: dict | None = None) -> bytes:
        """GET, or POST where there is a body."""
        request = urllib.request.Request(self.server.url + path, body, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path.split('?')[0]} answered {error.code}: {error.read()[:500]!r}") from error
        except OSError as error:
            raise ServerFailed(f"lost the server: {error}\n{self.server.log_tail()}") from error


def take(result: Result, kind: str, data: dict) -> bool:
    """Take one message into the result; True when it was the last."""
    if kind == "progress":
        result.progress.append((data["node"], data["value"], data["max"]))
    elif kind == "executing" and data["node"] is not None:
        result.executed.append(data["node"])
    elif kind == "executed":
        result.ui[data["node"]] = data["output"] or {}
    elif kind == "execution_cached":
        result.cached += data["nodes"]
    elif kind == "execution_error":
        raise NodeError(data)
    elif kind == "execution_interrupted":
        raise Interrupted(f"interrupted at node {data['node_id']} ({data['node_type']})")
    return kind == "execution_success"


def to_picture(image: Image.Image | np.ndarray | Path | str) -> Image.Image:
    if isinstance(image, Path | str):
        return Image.open(image)
    if isinstance(image, Image.Image):
        return image
    if image.dtype != np.uint8:
        image = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(image)
