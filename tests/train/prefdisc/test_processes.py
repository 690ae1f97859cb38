"""Several processes learn what one learns; a killed run, resumed, ends where an unbroken one ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train.prefdisc.sets import write_config
from train.prefdisc.config import load_config
from train.prefdisc.run import run

ROOT = Path(__file__).parents[3]
STEPS = 12
OPTIONS = [f"stage_one.steps={STEPS}", "training.eval_steps=100"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("processes")
    write_config(place)
    return place


@pytest.fixture(scope="module")
def launch():
    """Starts the command in so many processes; gives their ids and the file of what they say."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    script = ROOT / "tests" / "train" / "prefdisc" / "forked.py"
    with subprocess.Popen(
        [sys.executable, script], env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def start(folder, processes, output, *overrides):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            said = folder / f"{output}.txt"
            said.touch()
            arguments = ["--config", str(folder / "run.yaml"), *overrides, f"output={folder / output}"]
            job = {"processes": processes, "port": port, "arguments": arguments, "said": str(said)}
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline()), said

        yield start
        server.stdin.close()


def config(folder, output, *overrides):
    return load_config(str(folder / "run.yaml"), [*overrides, f"output={folder / output}"])


def wait_for(happened, said):
    until = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < until, said.read_text()
        assert "Traceback" not in said.read_text(), said.read_text()
        time.sleep(0.02)


def test_two_processes_learn_what_one_learns(folder, launch):
    _, said = launch(folder, 2, "two", *OPTIONS)
    one = run(config(folder, "one", *OPTIONS))
    wait_for(lambda: '"checkpoint":' in said.read_text(), said)
    reached = json.loads(next(line for line in said.read_text().splitlines() if line.startswith('{"stage"')))
    assert reached["processes"] == 2
    states = folder / "two" / "full" / "stage1" / f"checkpoint-{STEPS}"
    rows = json.loads((states / "trainer_state.json").read_text())["log_history"]
    two = [row["loss"] for row in rows if "loss" in row]
    # The same batch of 4, summed in two halves: float32 rounds differently, and steps carry it on.
    assert two == pytest.approx(list(one["losses"].values()), abs=1e-4)
    assert reached["eval_accuracy"] == one["eval_accuracy"]


def test_a_killed_run_resumes_to_the_same_end(folder, launch):
    """With dropout, whose draws must go on where they were."""
    options = [*OPTIONS, "lora.dropout=0.2"]
    (process,), said = launch(folder, 1, "killed", *options)
    stage = folder / "killed" / "full" / "stage1"
    try:
        wait_for(lambda: (stage / "checkpoint-4" / "trainer_state.json").exists(), said)
    finally:
        os.kill(process, signal.SIGKILL)
    assert not (stage / "preference.safetensors").exists(), "it was killed before its end"
    unbroken = run(config(folder, "unbroken", *options))
    resumed = run(config(folder, "killed", *options))
    assert resumed["steps"] == STEPS
    # The same numbers from the same states: nothing may differ.
    assert resumed["losses"] == unbroken["losses"]
    assert resumed["eval_loss"] == unbroken["eval_loss"]
