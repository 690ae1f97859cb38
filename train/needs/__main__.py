"""What the training of PrefDisc on Idefics2-8B needs on so many GPUs: GiB of each and hours.

    make python ARGS="-m train.needs --gpus 1 8 64"

GiB and FLOPs are arithmetic on the base's shapes. Hours come from measured seconds alone: give those of one forward and
backward pass on your card (--seconds, --second-stage, --card). Without, they are "not measured"; --reached shows what
they would be at so many TFLOP/s, and says that it is assumed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from train.evaluate.command import replace_section
from train.needs.report import compute_needs, markdown, to_json
from train.prefdisc.config import load_config
from train.settings import SettingsError


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m train.needs", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="idefics2_8b_1gpu", help="a training configuration (train.prefdisc's)")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument(
        "--seconds", type=_positive, help="measured, of a forward and backward of per_device pairs, stage 1"
    )
    parser.add_argument("--second-stage", type=_positive, help="and of stage 2")
    parser.add_argument("--card", default="", help="on which card that was measured")
    parser.add_argument("--reached", type=_positive, help="TFLOP/s that a GPU is assumed to reach, for the last column")
    parser.add_argument("--document", type=Path, help="a Markdown file whose section 'needs' is written anew")
    given = parser.parse_args(argv)
    measured = (given.seconds, given.second_stage, given.card)
    if any(measured) != all(measured):
        parser.error("--seconds, --second-stage and --card belong together: both stages' seconds, and the card's name")
    try:
        config = load_config(given.config)
    except SettingsError as error:
        parser.error(str(error))
    if any(count < 1 or config.batch % count for count in given.gpus):
        parser.error(
            f"--gpus {given.gpus}, expected divisors of the batch, {config.batch} pairs: it is shared out equally"
        )
    found = compute_needs(config, given.gpus, measured[:2] if all(measured) else None, given.card, given.reached)
    text, told = markdown(found), to_json(found)
    if given.document:
        known = given.document.read_text(encoding="utf-8") if given.document.exists() else ""
        given.document.write_text(replace_section(known, "needs", text), encoding="utf-8")
    print(text)
    print(json.dumps(told))
    return told


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} was given, expected a number above 0")
    return number


if __name__ == "__main__":
    main()
