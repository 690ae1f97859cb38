"""Runs a command of ours in forked processes: what torch takes seconds to import is imported once for all.

`launching(module)` starts this file as a server. It reads a job a line, `{"processes": n, "port": n, "arguments":
[...], "said": file}`, and answers it with the children's ids, also a line. What the children say goes into the file,
and then their exit status. They are the ranks of one gloo run, as `accelerate launch` makes them, where they are more
than one.
"""

import json
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
Launch = Callable[[Path, int, Sequence[object]], list[int]]
"""Where what is said goes, how many processes, their arguments -> their ids."""


@contextmanager
def launching(*modules: str) -> Iterator[Launch]:
    """Within this context the first module's `main` can be started; the others are only imported beforehand."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, *modules]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def launch(said: Path, processes: int, arguments: Sequence[object]) -> list[int]:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            said.touch()
            job = {"processes": processes, "port": port, "arguments": list(map(str, arguments)), "said": str(said)}
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        yield launch
        server.stdin.close()


def wait_for(happened: Callable[[], bool], said: Path) -> None:
    """Until something has happened, and no longer than a busy machine may take; a traceback ends it."""
    until = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < until, said.read_text()
        assert "Traceback" not in said.read_text(), said.read_text()
        time.sleep(0.02)


def _serve(modules: list[str]) -> None:
    command, *_ = map(import_module, modules)
    for line in sys.stdin:
        job = json.loads(line)
        # Forked before a tensor is touched: no thread pool exists yet that a child would wait for.
        sys.stdout.write(json.dumps([_child(command, job, rank) for rank in range(job["processes"])]) + "\n")
        sys.stdout.flush()


def _child(command, job: dict, rank: int) -> int:
    found = os.fork()
    if found:
        return found
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    # Whole lines, also under PYTHONUNBUFFERED: else another rank's words come between a line and its end.
    sys.stdout.reconfigure(line_buffering=True, write_through=False)
    count = job["processes"]
    if count > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": job["port"]}
        os.environ |= {name: str(value) for name, value in place.items()}
    sys.argv = [command.__name__, *job["arguments"]]
    status = 1
    try:
        status = command.main() or 0
    except BaseException:  # noqa: BLE001 (said, and then the process ends)
        traceback.print_exc()
    finally:
        sys.stdout.write(f"ended {status}\n")
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1:])
