"""A ComfyUI server process with the pack linked in, on a free loopback port, in folders of its own."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
PROBES = Path(__file__).with_name("probes")
GUARD = Path(__file__).with_name("guard.py")
FOLDERS = ("custom_nodes", "input", "output", "temp", "user", "models/prefgen")
LOG_LINES = 80

# With few cores, OpenMP's spinning threads starve each other: a prompt of 0.8 s took over a minute. The server must
# also show that it needs no model hub.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
}


class ServerFailed(RuntimeError):
    """The server did not start, or is gone. The message ends with the last lines of its log."""


@dataclass(frozen=True)
class Server:
    """A running server. `base` holds its custom_nodes, input, output, temp, user and models folders."""

    port: int
    base: Path
    log: Path
    process: subprocess.Popen
    seconds_to_start: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def log_tail(self, lines: int = LOG_LINES) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def running_server(
    packs: dict[str, Path] | None = None,
    arguments: Sequence[str] = ("--cpu",),
    environment: dict[str, str] | None = None,
    timeout: float = 600.0,
    comfyui: Path | None = None,
) -> Iterator[Server]:
    """Start ComfyUI, yield it when it answers, and stop it whatever happens.

    Args:
        packs: folder name in custom_nodes -> folder to link there; by default this pack as `prefgen` and the tests'
            probes. An empty dict starts ComfyUI alone.
        arguments: passed on to ComfyUI's main.py.
        environment: added to the process's environment variables.
        timeout: seconds to wait for the first answer.
        comfyui: the ComfyUI to start; by default the one that COMFYUI_PATH names.

    Raises:
        ServerFailed: ComfyUI cannot be found, ended before it answered, or did not answer in time.
    """
    packs = {"prefgen": PACK, "probes": PROBES} if packs is None else packs
    comfyui = comfyui or find_comfyui()
    with tempfile.TemporaryDirectory(prefix="prefgen-comfyui-", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        for name in FOLDERS:
            (base / name).mkdir(parents=True)
        for name, target in packs.items():
            (base / "custom_nodes" / name).symlink_to(target, target_is_directory=True)
        server = None
        try:
            server = start(comfyui, base, arguments, environment or {}, timeout)
            yield server
        finally:
            if server is not None:
                release(server.process)


def find_comfyui() -> Path:
    """The ComfyUI that COMFYUI_PATH names; `make` sets it."""
    path = os.environ.get("COMFYUI_PATH", "")
    if not path or not (Path(path) / "main.py").is_file():
        raise ServerFailed(
            f"COMFYUI_PATH is {repr(path) if path else 'not set'}; expected a ComfyUI folder, with its main.py. "
            "Use `make test`, `make demo` or `make python`, which find one, or set it to your ComfyUI folder."
        )
    return Path(path).resolve()


def start(comfyui: Path, base: Path, arguments: Sequence[str], environment: dict[str, str], timeout: float) -> Server:
    """Start the process under its guard and wait for the first answer."""
    port = free_port()
    log = base / "comfyui.log"
    command = [
        *(sys.executable, str(GUARD), sys.executable, str(comfyui / "main.py")),
        *("--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)),
        *("--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}"),
        *("--disable-auto-launch", "--disable-api-nodes", *arguments),
    ]
    began = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=comfyui,
            env=os.environ | ENVIRONMENT | {"HF_HOME": str(base / "huggingface")} | environment,
            start_new_session=True,
        )
    try:
        while time.monotonic() - began < timeout:
            if process.poll() is not None:
                raise ServerFailed(f"ComfyUI ended with status {process.returncode} before it answered.{tail(log)}")
            if answers(port):
                return Server(port, base, log, process, time.monotonic() - began)
            time.sleep(0.1)
        raise ServerFailed(f"ComfyUI did not answer on port {port} within {timeout:.0f} s.{tail(log)}")
    except BaseException:
        release(process)
        raise


def release(process: subprocess.Popen) -> None:
    """Let go of the guard's standard input, which makes it stop the server, and wait until it is gone."""
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/prompt", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return "\nThe end of its log:\n" + "\n".join(lines)
