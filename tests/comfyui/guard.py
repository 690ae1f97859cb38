"""Runs a command for as long as somebody holds the other end of its standard input.

`python guard.py COMMAND...` starts the command and waits. When the command ends, its exit status is passed on; when
standard input closes, because the holder closed it or died in whatever way, even by SIGKILL, the command and everything
it started are stopped. Started in a session of its own, so that Ctrl-C reaches the holder and not the command.
"""

import os
import signal
import subprocess
import sys
import threading

PATIENCE = 5.0  # seconds between asking and killing


def main() -> int:
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=stop_when_released, args=(process,), daemon=True).start()
    return process.wait()


def stop_when_released(process: subprocess.Popen) -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)  # whatever the command left behind, and this guard


if __name__ == "__main__":
    sys.exit(main())
