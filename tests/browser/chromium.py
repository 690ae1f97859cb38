"""Headless chromium, spoken to over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol)."""

import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.comfyui.server import GUARD, release

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"),
)

AIM = """async selector => {
  const frame = () => new Promise(done => requestAnimationFrame(done));
  const place = () => {
    const element = document.querySelector(selector);
    if (!element) throw new Error(`there is no ${selector}`);
    const { left, top, width, height } = element.getBoundingClientRect();
    return { element, x: left + width / 2, y: top + height / 2 };
  };
  let before = place();
  for (;;) {
    await frame();
    await frame();
    const now = place();
    if (now.element === before.element && now.x === before.x && now.y === before.y) break;
    before = now;
  }
  const { element, x, y } = before;
  const there = document.elementFromPoint(x, y);
  if (!element.contains(there)) throw new Error(`${selector} is covered by ${there?.outerHTML.slice(0, 200)}`);
  window.hit = undefined;
  document.addEventListener("click", ({ target }) => {
    window.hit = element.contains(target) ? "" : target.outerHTML.slice(0, 200);
  }, { capture: true, once: true });
  return [x, y];
}"""
"""The middle of an element that lies still (as Playwright waits for it), and what the next click hits: "" is itself."""


class PageError(RuntimeError):
    """JavaScript in the page threw, or the browser did not do as asked."""


def find_chromium() -> str | None:
    """The browser's path: CHROMIUM_PATH, or the first known name on the PATH; None if there is none."""
    return os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One open page. Synchronous, for one thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse, port: int):
        self._loop, self._socket, self._numbers, self._port = loop, socket, itertools.count(1), port
        self.console: list[str] = []

    @contextmanager
    def second_tab(self, url: str) -> Iterator["Page"]:
        """Open another tab of the same browser, and close it at the end."""
        session = socket = None
        target = self.command("Target.createTarget", url=url)["targetId"]
        try:
            session, socket = self._loop.run_until_complete(connect(self._port, url, target))
            page = Page(self._loop, socket, self._port)
            page.command("Runtime.enable")
            page.command("Page.enable")
            yield page
        finally:
            if session is not None:
                self._loop.run_until_complete(session.close())
            self.command("Target.closeTarget", targetId=target)

    def evaluate(self, expression: str, timeout: float = 60.0) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited. Raises PageError if it throws."""
        answer = self.command(
            "Runtime.evaluate", timeout, expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"]
            raise PageError(thrown.get("exception", {}).get("description") or thrown["text"])
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout: float = 60.0, seen: str = "''") -> None:
        """Wait until the expression is truthy. seen: what is told of the page, where it does not become so."""
        end = time.monotonic() + max(timeout, 30.0)  # other work may keep the machine busy
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > end:
                told = f"waited {timeout:.0f} s for {expression}; seen: {self.evaluate(seen)}; console:"
                raise PageError("\n".join([told, *self.console[-20:]]))
            time.sleep(0.2)

    def click(self, selector: str) -> None:
        """Press and release the mouse on the middle of the first such element, once it lies still. Raises PageError
        where there is none, where another element lies over it, or where the click went elsewhere."""
        x, y = self.evaluate(f"({AIM})({json.dumps(selector)})")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)
        self.wait_for("window.hit !== undefined", 10, seen=f"'no click was seen after one on {selector}'")
        if hit := self.evaluate("window.hit"):
            raise PageError(f"the click on {selector} hit {hit}")

    def press(self, key: str, code: str, number: int, text: str = "") -> None:
        """Press and release a key: its DOM key and code, its Windows number, and what it types."""
        named = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.command("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self.command("Input.dispatchKeyEvent", type="keyUp", **named)

    def reload(self, ready: str, timeout: float = 300.0) -> None:
        """Load the page again, and wait until the expression is truthy in the new one."""
        self.evaluate("window.left = true")
        self.command("Page.reload")
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            # An evaluation that the old page took with it has no answer, or the wrong one.
            with suppress(PageError):
                if self.evaluate(f"!window.left && Boolean({ready})", timeout=30):
                    return
            time.sleep(0.3)
        raise PageError(f"the page did not come again in {timeout:.0f} s; console:\n" + "\n".join(self.console[-20:]))

    def screenshot(self, clip: tuple[float, float, float, float] | None = None) -> bytes:
        """The visible page, or a part of it (left, top, width, height), as PNG."""
        part = (
            {} if clip is None else {"clip": dict(zip(("x", "y", "width", "height"), clip, strict=True)) | {"scale": 1}}
        )
        return base64.b64decode(self.command("Page.captureScreenshot", 120.0, format="png", **part)["data"])

    def resize(self, width: int, height: int) -> None:
        """Make the page as large as this, whatever the window."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)

    def command(self, method: str, timeout: float = 60.0, /, **parameters: Any) -> dict:
        """Send one protocol command and return its result."""
        try:
            return self._loop.run_until_complete(asyncio.wait_for(self._command(method, parameters), timeout))
        except TimeoutError:
            raise PageError(f"{method} had no answer within {timeout:.0f} s: {parameters}") from None

    async def _command(self, method: str, parameters: dict) -> dict:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async for message in self._socket:
            said = json.loads(message.data)
            if said.get("id") == number:
                if "error" in said:
                    raise PageError(f"{method}: {said['error']['message']}")
                return said["result"]
            if said.get("method") == "Page.javascriptDialogOpening":  # "leave this page?": yes
                yes = {"id": next(self._numbers), "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
                await self._socket.send_json(yes)
            if said.get("method") == "Runtime.consoleAPICalled":
                words = (str(part.get("value", part.get("description", ""))) for part in said["params"]["args"])
                self.console.append(f"{said['params']['type']}: {' '.join(words)}")
        raise PageError("the browser closed the connection")


@contextmanager
def open_page(url: str, width: int = 1600, height: int = 1000) -> Iterator[Page]:
    """Start a browser with a profile of its own, open the address, and stop the browser whatever happens."""
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory(prefix="prefgen-browser-", ignore_cleanup_errors=True) as profile:
        command = [str(find_chromium()), *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", url]
        process = subprocess.Popen(
            [sys.executable, str(GUARD), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        session = None
        try:
            port = debugging_port(Path(profile))
            session, socket = loop.run_until_complete(connect(port, url))
            page = Page(loop, socket, port)
            page.command("Runtime.enable")
            page.command("Page.enable")
            yield page
        finally:
            if session is not None:
                loop.run_until_complete(session.close())
            loop.close()
            release(process)


def debugging_port(profile: Path, timeout: float = 60.0) -> int:
    """Chromium writes the port it chose into its profile."""
    note = profile / "DevToolsActivePort"
    end = time.monotonic() + timeout
    while not (note.exists() and note.read_text().strip()):
        if time.monotonic() > end:
            raise PageError(f"chromium did not start within {timeout:.0f} s")
        time.sleep(0.1)
    return int(note.read_text().split()[0])


async def connect(
    port: int, url: str, target: str | None = None
) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    """The websocket of the page that shows the address, or of one tab by its id."""
    session = aiohttp.ClientSession()
    try:
        for _ in range(100):
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [page for page in await answer.json() if page["type"] == "page" and page["url"].startswith(url)]
            if target is not None:
                pages = [page for page in pages if page["id"] == target]
            if pages:
                return session, await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
            await asyncio.sleep(0.1)
        raise PageError(f"no page shows {url}")
    except BaseException:
        await session.close()
        raise
