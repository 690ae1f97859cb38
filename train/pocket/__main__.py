"""Trains the pocket models in order, and resumes interrupted parts.

    python -m train.pocket [part ...]

Every part writes its weights into `prefgen/pocket` (the judges into `train/evaluate`) and prints its metrics as one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path

# The order matters: latents need the VAE, captions need CLIP, "wordings" and "few_step" need the generator, "painted"
# needs "few_step", embeddings need all PrefDisc parts, and the adapter needs everything before it.
PARTS = (
    "people",
    "judge",
    "validation_judge",
    "vae",
    "decoder",
    "clip",
    "prefdisc",
    "generator",
    "wordings",
    "few_step",
    "painted",
    "worded",
    "probe",
    "align",
    "adapter",
)
OPTIONAL_PARTS = ("adapter_for_choosing",)
"""Parts that are trained only on request. No shipped file depends on them."""
MODULES = {
    "wordings": "prompt_wordings",
    "painted": "prefdisc.generated_posters",
    "worded": "prefdisc.prompt_wordings",
}
"""Modules of the parts whose module has a different name."""


def trainer(part: str) -> Callable[[Path], object]:
    """Return the function that trains a part. Its argument is the folder for states and logs."""
    if part in ("judge", "validation_judge"):
        from train.pocket import judge

        return lambda folder: judge.train(folder, part)
    if part == "adapter_for_choosing":
        from train.pocket import adapter

        return adapter.train_for_choosing
    if part == "people":
        from train.pocket import people

        return lambda folder: people.make()
    from importlib import import_module

    return import_module(f"train.pocket.{MODULES.get(part, part)}").train


def main() -> None:
    """Train the parts named on the command line, or all."""
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    names = ", ".join(PARTS + OPTIONAL_PARTS)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"parts to train: {names} (default: all but the last)")
    parser.add_argument("--folder", type=Path, default=Path("out/pocket"), help="folder for states and logs")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - {*PARTS, *OPTIONAL_PARTS}
    if unknown:
        parser.error(f"the part is {', '.join(sorted(unknown))}; expected any of {names}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for part in arguments.parts or PARTS:
        print(json.dumps({part: trainer(part)(arguments.folder)}))


if __name__ == "__main__":
    main()
