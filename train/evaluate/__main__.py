"""Runs all evaluation commands in sequence.

    python -m train.evaluate --document docs/evaluation.md

All other options are passed on to every command. `--only` selects commands. `ablation` and `tokens` train model
variants, as do the ablation rows of `generation` and the ViPer-like row of `reno`. This takes hours on two cores;
`--skip-training` leaves these parts out.
"""

import argparse
import importlib

COMMANDS = ("prediction", "topk", "references", "clusters", "attention", "tsne", "similar", "generation", "reno")
TRAINING = ("ablation", "tokens")
WITH_ABLATIONS = ("generation", "reno")
"""Commands that train models for some of their rows when given --ablations."""


def main(argv: list[str] | None = None) -> None:
    """Run the selected evaluation commands."""
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*COMMANDS, *TRAINING], help="run only these commands")
    parser.add_argument("--skip-training", action="store_true", help="skip everything that trains a model")
    options, passed_on = parser.parse_known_args(argv)
    for name in options.only or (*COMMANDS, *(() if options.skip_training else TRAINING)):
        ablations = ["--ablations"] if name in WITH_ABLATIONS and not options.skip_training else []
        importlib.import_module(f"train.evaluate.{name}").main([*passed_on, *ablations])


if __name__ == "__main__":
    main()
