"""A ComfyUI server's API, as far as rendering needs it: post a prompt, wait for it, fetch its image."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from prefgen.errors import PrefGenError

POLL = 0.2  # seconds between two questions whether a prompt is done
ASK_QUEUE = 50  # questions after which the queue is asked whether the prompt is still known
PATIENCE = 60.0  # seconds for one answer


class RenderError(PrefGenError):
    """A workflow or a server that cannot render a set; the message names the node where there is one."""


@dataclass(frozen=True)
class Server:
    """A running ComfyUI. url: for example http://127.0.0.1:8188"""

    url: str

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise RenderError(f"{self.url!r} is no server's address, expected one like http://127.0.0.1:8188.")

    def post(self, nodes: dict[str, Any]) -> str:
        """Queue a prompt; returns its id. Raises RenderError with what the server says of each node it refuses."""
        body = self._ask("/prompt", {"prompt": nodes})
        refused = body.get("node_errors") or {}
        if refused or "prompt_id" not in body:
            told = "; ".join(
                f"node {node} ({given.get('class_type')}): {error.get('message')}: {error.get('details')}"
                for node, given in refused.items()
                for error in given.get("errors", [])
            )
            general = body.get("error") or {}
            general = f"{general.get('message')}: {general.get('details')}" if isinstance(general, dict) else general
            raise RenderError(f"the server refused the workflow: {told or general}: correct it in ComfyUI first.")
        return body["prompt_id"]

    def wait(self, prompt: str) -> dict[str, Any]:
        """What each node of a prompt gave out, once it is done. Raises RenderError for a node that raised."""
        asked = 0
        while True:
            done = self._ask(f"/history/{prompt}").get(prompt)
            if done:
                return _outputs(done)
            asked += 1
            if asked % ASK_QUEUE == 0 and not self._queued(prompt) and not self._ask(f"/history/{prompt}"):
                raise RenderError(f"{self.url} no longer knows the prompt {prompt}: was it restarted? Run again.")
            time.sleep(POLL)

    def fetch(self, reference: dict[str, str]) -> bytes:
        """The file that an output names: filename, subfolder, type."""
        return self._request("/view?" + urllib.parse.urlencode(reference))

    def forget(self, prompts: list[str]) -> None:
        """Take prompts that were not begun out of the queue. Never raises: it is called when something else failed."""
        try:
            self._request("/queue", json.dumps({"delete": prompts}).encode())
        except RenderError:
            return

    def _queued(self, prompt: str) -> bool:
        queue = self._ask("/queue")
        return any(prompt in item for part in ("queue_running", "queue_pending") for item in queue.get(part, []))

    def _ask(self, path: str, body: dict | None = None) -> dict[str, Any]:
        answer = self._request(path, None if body is None else json.dumps(body).encode(), (200, 400))
        try:
            return json.loads(answer)
        except ValueError:
            raise RenderError(f"{self.url}{path} answered {answer[:80]!r}, expected a ComfyUI server.") from None

    def _request(self, path: str, body: bytes | None = None, statuses: tuple[int, ...] = (200,)) -> bytes:
        request = urllib.request.Request(self.url.rstrip("/") + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            content = error.read()
            if error.code in statuses:
                return content
            raise RenderError(f"{self.url}{path} answered {error.code} ({content[:200]!r}).") from error
        except (OSError, http.client.HTTPException) as error:
            raise RenderError(
                f"{self.url} does not answer ({error}), expected a ComfyUI server: start it, then run again."
            ) from error


def _outputs(done: dict[str, Any]) -> dict[str, Any]:
    status = done.get("status") or {}
    for kind, data in status.get("messages", []):
        if kind == "execution_error":
            raise RenderError(
                f"node {data['node_id']} ({data['node_type']}) raised {data['exception_type']}: "
                f"{data['exception_message'].strip()}: correct the workflow, or the server's models."
            )
        if kind == "execution_interrupted":
            raise RenderError(f"the prompt was interrupted at node {data['node_id']}: run again to go on.")
    return done.get("outputs", {})
