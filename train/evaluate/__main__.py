"""`python -m train.evaluate --document docs/evaluation.md`: every table and figure, one command after the other.

Options are passed on to all of them; `--only` names some. `ablation` and `tokens` train their variants, and so do the
ablation's rows of `generation` and the ViPer-like row of `reno`, which takes hours on two cores: `--skip-training`
leaves them out.
"""

import argparse
import importlib

COMMANDS = ("prediction", "topk", "references", "clusters", "attention", "tsne", "similar", "generation", "reno")
TRAINING = ("ablation", "tokens")
ABLATED = ("generation", "reno")
"""Those that train for some of their rows, where asked to."""


def main(argv: list[str] | None = None) -> None:
    """Run them."""
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*COMMANDS, *TRAINING], help="run these")
    parser.add_argument("--skip-training", action="store_true", help="run those that train nothing")
    own, passed_on = parser.parse_known_args(argv)
    for name in own.only or (*COMMANDS, *(() if own.skip_training else TRAINING)):
        trained = ["--ablations"] if name in ABLATED and not own.skip_training else []
        importlib.import_module(f"train.evaluate.{name}").main([*passed_on, *trained])


if __name__ == "__main__":
    main()
