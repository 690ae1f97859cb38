"""Several processes learn what one learns; a killed run, resumed, ends where an unbroken one ends."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.forked import launching, wait_for
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
    with launching("train.prefdisc.__main__") as start:

        def run(folder, processes, output, *overrides):
            said = folder / f"{output}.txt"
            arguments = ["--config", folder / "run.yaml", *overrides, f"output={folder / output}"]
            return start(said, processes, arguments), said

        yield run


def config(folder, output, *overrides):
    return load_config(str(folder / "run.yaml"), [*overrides, f"output={folder / output}"])


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
