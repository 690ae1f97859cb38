"""docs/training-at-scale.md says what the command computes, and names what is there."""

import re
from pathlib import Path

from train.evaluate.command import replace_section
from train.needs.report import compute_needs, markdown
from train.prefdisc.config import CONFIGS, load_config
from train.settings import CONFIGS as ALL

PAGE = Path(__file__).parents[3] / "docs" / "training-at-scale.md"


def test_the_table_is_the_commands_own():
    text = PAGE.read_text(encoding="utf-8")
    if "measured on" not in text:
        found = compute_needs(load_config("idefics2_8b_1gpu"), [1, 8, 64], reached=100)
        assert replace_section(text, "needs", markdown(found)) == text


def test_configurations_that_are_named_are_there_and_fit_the_gpus():
    text = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"--config (\w+)", text):
        assert (CONFIGS / f"{name}.yaml").is_file()
    for name in re.findall(r"(\w+)\.yaml`", text):
        assert (ALL / "accelerate" / f"{name}.yaml").is_file()
    assert load_config("idefics2_8b_nodes", ["per_device=1"]).accumulation(64) == 1
    assert load_config("idefics2_8b_8gpu").accumulation(8) == 4
