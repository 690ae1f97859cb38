"""Trains the alignment on a dataset and writes it into a checkpoint.

    python -m train.align --checkpoint FILE --users DATASET --text SDXL

The last line of the output is one JSON object with the metrics of held-out users (train/align/metrics.py). `part=core`
aligns the `core` part instead. Pass the resulting file to `python -m train.adapter --core-alignment`.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState

from prefgen.checkpoint.file import write_part
from prefgen.checkpoint.preference_model import POCKET, PreferenceModel
from train.align.config import AlignConfig
from train.align.dataset import build_user_table, load_clip_text_encoder
from train.align.fit import train_alignment
from train.align.user_table import UserTable
from train.bases import add_base_options, load_model
from train.settings import read_settings


def main(argv: list[str] | None = None) -> dict:
    """Run the command and return the JSON values that it prints."""
    parser = argparse.ArgumentParser(prog="python -m train.align", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="sdxl", help="YAML file, or a name in train/configs/align")
    parser.add_argument("--checkpoint", required=True, help="preference checkpoint whose PrefDisc encodes the users")
    parser.add_argument("--users", type=Path, required=True, help="dataset folder (users.jsonl and images)")
    parser.add_argument(
        "--text", type=Path, help="SDXL folder in diffusers' layout with the text encoder (default: the pocket CLIP)"
    )
    parser.add_argument("--out", type=Path, help="checkpoint to write the alignment to (default: --checkpoint)")
    parser.add_argument("--folder", type=Path, default=Path("out/align"), help="folder for states, logs and tables")
    add_base_options(parser)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to override, such as objective=mse")
    args = parser.parse_intermixed_args(argv)
    if args.checkpoint == POCKET and not args.out:
        parser.error("the bundled checkpoint is trained by train.pocket; pass --out, or a different --checkpoint")
    config = read_settings(AlignConfig, "align", args.config, args.overrides)
    model = load_model(args.checkpoint, args, PartialState().device)
    metrics = run(config, model, args.users, args.text, args.out or Path(args.checkpoint), args.folder)
    print(json.dumps(metrics))
    return metrics


def run(config: AlignConfig, model: PreferenceModel, users: Path, text: Path | None, out: Path, folder: Path) -> dict:
    """Build or load the user table, train the alignment, write it, and return its metrics."""
    model.require("prefdisc")
    file = folder / f"users-{users.name}-{model.fingerprint[:12]}.safetensors"
    if not file.exists():
        if text is None:
            from train.pocket.clip import encode_text as encode
        else:
            encode = load_clip_text_encoder(text)
        build_user_table(model, users, encode).save(file)
    alignment, metrics = train_alignment(UserTable.load(file), config, folder / f"{config.part}-{config.objective}")
    # An alignment of core belongs to the adapter: train.adapter copies it into the adapter part.
    target = out if config.part == "sem" else folder / "core.safetensors"
    summary = {"alignment": metrics | {"objective": config.objective, "steps": config.loop.steps, "seed": config.seed}}
    write_part(target, "alignment", asdict(alignment.config), alignment.state_dict(), training=summary)
    return {**metrics, "part": config.part, "objective": config.objective, "checkpoint": str(target)}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
