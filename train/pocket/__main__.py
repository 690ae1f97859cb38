"""`python -m train.pocket [part ...]`: train the pocket models, in order, resuming what was begun.

Every part writes its weights into `prefgen/pocket` (the judges into `train/evaluate`) and prints its figures as one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path

# Each part needs those before it: latents need the VAE, captions CLIP, wordings and few steps the generator, paintings
# few steps, embeddings PrefDisc with all it learns later, the adapter all but these.
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
ASIDE = ("adapter_for_choosing",)
"""Parts that are trained where they are named alone: nothing that is shipped needs them."""
MODULES = {
    "wordings": "prompt_wordings",
    "painted": "prefdisc.generated_posters",
    "worded": "prefdisc.prompt_wordings",
}
"""Modules of the parts that are not named after their module."""


def trainer(part: str) -> Callable[[Path], object]:
    """The function that trains a part, given the folder for states and logs."""
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
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS + ASIDE)}; none: all but the last"
    )
    parser.add_argument("--folder", type=Path, default=Path("out/pocket"), help="where states and logs are kept")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - {*PARTS, *ASIDE}
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS + ASIDE)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for part in arguments.parts or PARTS:
        print(json.dumps({part: trainer(part)(arguments.folder)}))


if __name__ == "__main__":
    main()
