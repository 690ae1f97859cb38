"""`python -m train.align --checkpoint FILE --users SET --text SDXL`: train the alignment on a set, into a checkpoint.

The last line is one JSON object: how well users who were not trained on find their own texts, and how far apart they
stay (train/align/measure.py). `part=core` aligns core as well; its file goes to `python -m train.adapter`.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

from prefgen.checkpoint.file import write_part
from prefgen.checkpoint.preference_model import POCKET, load_preference_model
from train.align.config import AlignConfig
from train.align.fit import align
from train.align.sources import clip_texts, user_table
from train.align.table import UserTable
from train.settings import read_settings


def main(argv: list[str] | None = None) -> dict:
    """Read the command line, train, write the part."""
    parser = argparse.ArgumentParser(prog="python -m train.align", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="sdxl", help="a YAML file, or a name in train/configs/align")
    parser.add_argument("--checkpoint", required=True, help="the preference checkpoint whose PrefDisc reads histories")
    parser.add_argument("--users", type=Path, required=True, help="a set made by train.data: users.jsonl and images")
    parser.add_argument("--text", type=Path, help="a folder of SDXL in diffusers' layout; not given: the pocket's CLIP")
    parser.add_argument("--out", type=Path, help="the checkpoint that gets the part (default: --checkpoint itself)")
    parser.add_argument("--folder", type=Path, default=Path("out/align"), help="where states, logs and tables are kept")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="over the file, such as objective=mse")
    given = parser.parse_intermixed_args(argv)
    if given.checkpoint == POCKET and not given.out:
        parser.error("the bundled checkpoint is trained by train.pocket: give --out, or another --checkpoint")
    config = read_settings(AlignConfig, "align", given.config, given.overrides)
    found = run(config, given.checkpoint, given.users, given.text, given.out or Path(given.checkpoint), given.folder)
    print(json.dumps(found))
    return found


def run(config: AlignConfig, checkpoint: str, users: Path, text: Path | None, out: Path, folder: Path) -> dict:
    """Make the table (or read the one that is there), train, write. Returns the figures."""
    model = load_preference_model(checkpoint)
    model.require("prefdisc")
    file = folder / f"users-{users.name}-{model.fingerprint[:12]}.safetensors"
    if not file.exists():
        if text is None:
            from train.pocket.clip import encode_text as encode
        else:
            encode = clip_texts(text)
        user_table(model, users, encode).save(file)
    alignment, found = align(UserTable.load(file), config, folder / f"{config.part}-{config.objective}")
    # A second alignment is the adapter's own: train.adapter puts it into the adapter's part.
    target = out if config.part == "sem" else folder / "core.safetensors"
    about = {"alignment": found | {"objective": config.objective, "steps": config.loop.steps, "seed": config.seed}}
    write_part(target, "alignment", asdict(alignment.config), alignment.state_dict(), training=about)
    return {**found, "part": config.part, "objective": config.objective, "checkpoint": str(target)}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
