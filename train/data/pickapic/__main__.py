"""Converts Pick-a-Pic v2 to a dataset of users and prints its report as the last line.

python -m train.data.pickapic --source SHARDS --out DATASET
"""

import argparse
import json
import logging
from pathlib import Path

from tqdm import tqdm

from train.data.pickapic import PickapicConfig, SetError, SplitConfig, write_pickapic


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    whole, split = PickapicConfig, SplitConfig
    parser = argparse.ArgumentParser(prog="python -m train.data.pickapic", description=__doc__)
    parser.add_argument("--source", required=True, help="folder with Parquet shards, or a dataset id on the Hub")
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    parser.add_argument("--files", default=whole.files, help="glob pattern of the shards (default: %(default)s)")
    parser.add_argument("--allow-download", action="store_true", help="allow a download from the Hugging Face Hub")
    parser.add_argument("--at-least", type=int, default=whole.at_least, help="minimum distinct liked images of a user")
    for name in ("validation", "test", "seen", "held_out"):
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=float, default=getattr(split, name), help="share (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=split.seed, help="random seed of the split")
    options = vars(parser.parse_args(arguments))
    out = options.pop("out")
    shares = {name: options.pop(name) for name in ("validation", "test", "seen", "held_out", "seed")}
    try:
        config = PickapicConfig(**options, split=SplitConfig(**shares))
        report = write_pickapic(out, config, lambda rows, what: tqdm(rows, desc=what, unit="row"))
    except SetError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(report))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
