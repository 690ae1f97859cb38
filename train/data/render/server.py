"""Client of a ComfyUI server: queues a prompt, waits for it, and fetches its image."""

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

POLL = 0.2  # seconds between two requests of a prompt's status
ASK_QUEUE = 50  # number of status requests after which the queue is checked
PATIENCE = 60.0  # timeout of a request in seconds


class RenderError(PrefGenError):
    """A workflow or a server cannot render a dataset. The message names the node if there is one."""


@dataclass(frozen=True)
class Server:
    """A running ComfyUI at a URL such as http://127.0.0.1:8188."""

    url: str

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise RenderError(f"--server is {self.url!r}; expected a URL such as http://127.0.0.1:8188.")

    def post(self, nodes: dict[str, Any]) -> str:
        """Queue a prompt and return its id.

        Raises:
            RenderError: The server rejects the workflow. The message contains the server's errors.
        """
        body = self._ask("/prompt", {"prompt": nodes})
        node_errors = body.get("node_errors") or {}
        if node_errors or "prompt_id" not in body:
            messages = "; ".join(
                f"node {node} ({report.get('class_type')}): {error.get('message')}: {error.get('details')}"
                for node, report in node_errors.items()
                for error in report.get("errors", [])
            )
            general = body.get("error") or {}
            general = f"{general.get('message')}: {general.get('details')}" if isinstance(general, dict) else general
            raise RenderError(f"The server rejected the workflow ({messages or general}). Correct it in ComfyUI first.")
        return body["prompt_id"]

    def wait(self, prompt: str) -> dict[str, Any]:
        """Wait for a prompt and return the outputs of its nodes.

        Raises:
            RenderError: A node raised an error, or the server lost the prompt.
        """
        requests = 0
        while True:
            done = self._ask(f"/history/{prompt}").get(prompt)
            if done:
                return _outputs(done)
            requests += 1
            if requests % ASK_QUEUE == 0 and not self._queued(prompt) and not self._ask(f"/history/{prompt}"):
                raise RenderError(f"{self.url} has lost the prompt {prompt}, probably because it restarted. Run again.")
            time.sleep(POLL)

    def fetch(self, reference: dict[str, str]) -> bytes:
        """Download the file of an output, given by filename, subfolder and type."""
        return self._request("/view?" + urllib.parse.urlencode(reference))

    def forget(self, prompts: list[str]) -> None:
        """Remove waiting prompts from the queue. Never raises, because it is called after other errors."""
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
            raise RenderError(f"{self.url}{path} answered {answer[:80]!r}; expected a ComfyUI server.") from None

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
            raise RenderError(f"{self.url} does not answer ({error}). Start ComfyUI, then run again.") from error


def _outputs(done: dict[str, Any]) -> dict[str, Any]:
    status = done.get("status") or {}
    for kind, data in status.get("messages", []):
        if kind == "execution_error":
            raise RenderError(
                f"Node {data['node_id']} ({data['node_type']}) raised {data['exception_type']}: "
                f"{data['exception_message'].strip()}. Correct the workflow, or the server's models."
            )
        if kind == "execution_interrupted":
            raise RenderError(f"The prompt was interrupted at node {data['node_id']}. Run again to resume.")
    return done.get("outputs", {})
