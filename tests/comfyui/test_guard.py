"""The guard stops what it guards, however the holder goes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.comfyui.server import GUARD, release

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups")
SLEEPER = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
HOLDER = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def sleeper(tmp_path):
    note = tmp_path / "pid"

    def pid():
        wait_for(lambda: note.exists() and note.read_text())
        return int(note.read_text())

    return [sys.executable, str(GUARD), sys.executable, "-c", SLEEPER, str(note)], pid


def test_letting_go_stops_the_process(sleeper):
    command, pid = sleeper
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    process = pid()
    release(guard)
    wait_for(lambda: not alive(process))


def test_killing_the_holder_stops_the_process(sleeper):
    command, pid = sleeper
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, *command])
    process = pid()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    wait_for(lambda: not alive(process))


def test_the_exit_status_is_passed_on():
    command = [sys.executable, str(GUARD), sys.executable, "-c", "raise SystemExit(7)"]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert guard.wait(20) == 7
    guard.stdin.close()
