"""Several processes learn what one learns; a killed run, resumed, ends where an unbroken one ends."""

import json
import os
import re
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


def losses(stage, step):
    rows = json.loads((stage / f"checkpoint-{step}" / "trainer_state.json").read_text())["log_history"]
    return [row["loss"] for row in rows if "loss" in row]


@pytest.fixture(scope="module")
def one(folder):
    """What one process learns."""
    return run(config(folder, "one", *OPTIONS))


@pytest.mark.parametrize(("processes", "each"), [(2, 2), (4, 1)])
def test_several_processes_learn_what_one_learns(folder, launch, one, processes, each):
    _, said = launch(folder, processes, f"of{processes}", *OPTIONS, f"per_device={each}")
    wait_for(lambda: '"checkpoint":' in said.read_text(), said)
    reached = json.loads(next(line for line in said.read_text().splitlines() if line.startswith('{"stage"')))
    assert reached["processes"] == processes
    stage = folder / f"of{processes}" / "full" / "stage1"
    # The same batch of 4, summed in parts: float32 rounds differently, and steps carry it on.
    assert losses(stage, STEPS) == pytest.approx(list(one["losses"].values()), abs=1e-4)
    assert reached["eval_accuracy"] == one["eval_accuracy"]


def test_a_process_that_dies_is_reported_and_another_number_of_them_goes_on(folder, launch, one):
    (_, second), said = launch(folder, 2, "lost", *OPTIONS)
    stage = folder / "lost" / "full" / "stage1"
    try:
        wait_for(lambda: (stage / "checkpoint-4" / "trainer_state.json").exists(), said)
    finally:
        os.kill(second, signal.SIGKILL)
    wait_for(lambda: "ended 1" in said.read_text(), said)
    assert "Process 0 of 2 lost another process after step" in said.read_text()
    assert re.search(r"Run the same command again to resume from checkpoint-\d+", said.read_text())
    assert not (stage / "preference.safetensors").exists(), "it did not end"
    resumed = run(config(folder, "lost", *OPTIONS))
    # One process takes over from two: the trials go on by their numbers.
    assert list(resumed["losses"].values()) == pytest.approx(list(one["losses"].values()), abs=1e-4)


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
