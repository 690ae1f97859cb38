"""Estimates the GPU memory and the hours needed to train PrefDisc on Idefics2-8B.

    make python ARGS="-m train.needs --gpus 1 8 64"

Memory and FLOPs are computed from the base model's shapes. Hours are computed from measured times of one forward and
backward pass on your card (--seconds, --second-stage, --card). Without them, the hours are "not measured". --reached
adds the hours at an assumed throughput in TFLOP/s. The last line of the output is one JSON object.
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
    """Run the command and return its JSON object."""
    parser = argparse.ArgumentParser(prog="python -m train.needs", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="idefics2_8b_1gpu", help="YAML file, or a name in train/configs/prefdisc")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], help="numbers of GPUs to compare")
    parser.add_argument(
        "--seconds",
        type=_positive,
        help="measured seconds for a forward and backward pass over per_device pairs in stage 1",
    )
    parser.add_argument("--second-stage", type=_positive, help="measured seconds for the same pass in stage 2")
    parser.add_argument("--card", default="", help="name of the card used for the measurement")
    parser.add_argument("--reached", type=_positive, help="assumed TFLOP/s per GPU, for the last column")
    parser.add_argument("--document", type=Path, help="Markdown file in which to replace section 'needs'")
    args = parser.parse_args(argv)
    measured = (args.seconds, args.second_stage, args.card)
    if any(measured) != all(measured):
        parser.error("--seconds, --second-stage and --card must be used together; pass all of them, or none")
    try:
        config = load_config(args.config)
    except SettingsError as error:
        parser.error(str(error))
    if any(count < 1 or config.batch % count for count in args.gpus):
        parser.error(f"--gpus is {args.gpus}; expected divisors of the batch of {config.batch} pairs")
    estimate = compute_needs(config, args.gpus, measured[:2] if all(measured) else None, args.card, args.reached)
    text, values = markdown(estimate), to_json(estimate)
    if args.document:
        document = args.document.read_text(encoding="utf-8") if args.document.exists() else ""
        args.document.write_text(replace_section(document, "needs", text), encoding="utf-8")
    print(text)
    print(json.dumps(values))
    return values


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"the value is {text}; expected a finite number above 0")
    return number


if __name__ == "__main__":
    main()
