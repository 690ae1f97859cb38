"""Trains PrefDisc, or resumes a run, and prints its results as one JSON line.

python -m train.prefdisc --config pocket --stage 1
accelerate launch --num_processes 8 -m train.prefdisc --config idefics2_8b_8gpu --stage 1 data.folder=out/pickapic
"""

from __future__ import annotations

import argparse
import json
import logging
import sys

from accelerate import PartialState

from prefgen.errors import PrefGenError
from train.prefdisc.ablation_modes import MODES
from train.prefdisc.config import CONFIGS, load_config
from train.prefdisc.run import run


def main() -> int:
    """Run one stage. The exit status is 1 if the input is invalid or if another process of the run was lost."""
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    parser.add_argument("--config", required=True, help=f"YAML file, or one of {names}")
    parser.add_argument("--mode", choices=MODES, help="ablation mode, which sets the parts of the method to use")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="1 trains the LoRA, 2 only the preference tokens")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to override, such as data.folder=out/set"
    )
    args = parser.parse_intermixed_args()
    try:
        results = run(load_config(args.config, args.overrides, mode=args.mode, stage=args.stage))
    except PrefGenError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    if PartialState().is_main_process:
        print(json.dumps({key: value for key, value in results.items() if key != "losses"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
