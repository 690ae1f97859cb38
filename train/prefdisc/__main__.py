"""`python -m train.prefdisc --config pocket`: train PrefDisc (or go on), and print what was reached as one JSON line.

accelerate launch --num_processes 8 -m train.prefdisc --config idefics2_8b_8gpu --stage 1 data.folder=out/pickapic
"""

from __future__ import annotations

import argparse
import json
import logging
import sys

from accelerate import PartialState

from prefgen.errors import PrefGenError
from train.prefdisc.config import CONFIGS, load_config
from train.prefdisc.modes import MODES
from train.prefdisc.run import run


def main() -> int:
    """Read the command line and run one stage. Returns the exit status: 1 for what cannot be run, and where
    another process was lost."""
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    parser.add_argument("--config", required=True, help=f"a YAML file, or one of {names}")
    parser.add_argument("--mode", choices=MODES, help="what of the method is on (the ablation's modes)")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="1: the LoRA and P_v; 2: P_v alone")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="over the file, such as data.folder=out/set")
    given = parser.parse_intermixed_args()
    try:
        reached = run(load_config(given.config, given.overrides, mode=given.mode, stage=given.stage))
    except PrefGenError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    if PartialState().is_main_process:
        print(json.dumps({key: value for key, value in reached.items() if key != "losses"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
