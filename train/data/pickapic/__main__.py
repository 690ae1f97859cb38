"""`python -m train.data.pickapic --source SHARDS --out SET`: make the set and print its report, the last line."""

import argparse
import json
import logging
from pathlib import Path

from tqdm import tqdm

from train.data.pickapic import PickapicConfig, SetError, SplitConfig, write_pickapic


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    whole, split = PickapicConfig, SplitConfig
    parser = argparse.ArgumentParser(prog="python -m train.data.pickapic", description=__doc__)
    parser.add_argument("--source", required=True, help="folder with Parquet shards, or a data set's id on the Hub")
    parser.add_argument("--out", type=Path, required=True, help="the folder to be made")
    parser.add_argument("--files", default=whole.files, help="which shards, a glob (default: %(default)s)")
    parser.add_argument("--allow-download", action="store_true", help="the source is on the Hugging Face Hub")
    parser.add_argument("--at-least", type=int, default=whole.at_least, help="distinct liked images of a user")
    for name in ("validation", "test", "seen", "held_out"):
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=float, default=getattr(split, name), help="a share (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=split.seed, help="of the split")
    given = vars(parser.parse_args(arguments))
    out = given.pop("out")
    shares = {name: given.pop(name) for name in ("validation", "test", "seen", "held_out", "seed")}
    try:
        config = PickapicConfig(**given, split=SplitConfig(**shares))
        report = write_pickapic(out, config, lambda rows, what: tqdm(rows, desc=what, unit="row"))
    except SetError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(report))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
