"""Runs `python -m prefgen` in forked processes: what torch takes seconds to import is imported once for all.

Reads a job a line, `{"processes": n, "port": n, "arguments": [...], "said": file}`, and answers it with the children's
ids, also a line. What the children say goes into the file, and then their exit status. They are the ranks of one gloo
run, as `accelerate launch` makes them, where they are more than one.
"""

import json
import os
import sys
import traceback

import prefgen.offline.score
import prefgen.preference  # noqa: F401 (to be there when children are forked)
from prefgen.__main__ import main as command


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        # Forked before a tensor is touched: no thread pool exists yet that a child would wait for.
        sys.stdout.write(json.dumps([child(job, rank) for rank in range(job["processes"])]) + "\n")
        sys.stdout.flush()


def child(job: dict, rank: int) -> int:
    found = os.fork()
    if found:
        return found
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    count = job["processes"]
    if count > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": job["port"]}
        os.environ |= {name: str(value) for name, value in place.items()}
    status = 1
    try:
        status = command(job["arguments"])
    except BaseException:  # noqa: BLE001 (said, and then the process ends)
        traceback.print_exc()
    finally:
        sys.stdout.write(f"ended {status}\n")
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
