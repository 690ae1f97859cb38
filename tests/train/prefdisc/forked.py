"""Runs `python -m train.prefdisc` in forked processes: what torch takes seconds to import is imported once for all.

Reads a job a line, `{"processes": n, "port": n, "arguments": [...], "said": file}`, and answers it with the children's
ids, also a line. What the children say goes into the file, last of all their exit status. They are the ranks of one
gloo run where they are more than one.
"""

import json
import os
import sys
import traceback

from train.prefdisc import __main__ as command


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
    sys.argv = ["train.prefdisc", *job["arguments"]]
    status = 1
    try:
        command.main()
        status = 0
    except BaseException:  # noqa: BLE001 (said, and then the process ends)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
