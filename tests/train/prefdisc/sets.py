"""A set of users on disk, of noise images, and the configuration of a run on it with the tiny base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.prefgen import tiny
from tests.prefgen.checkpoints import write_base

PROMPTS = ("a cat", "the red house on a dog", "")


def write_users(
    folder: Path, train: int = 4, validation: int = 3, pairs: int = 6, size: int = 24, width: int | None = None
) -> Path:
    """Liked images are reddish, disliked ones bluish, so that there is something to learn."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(train + validation):
        made = []
        for pair in range(pairs):
            names = {}
            for kind, channel in (("liked", 0), ("disliked", 2)):
                pixels = rng.integers(0, 160, (size, width or size, 3))
                pixels[..., channel] += 95
                names[kind] = f"images/{number}-{pair}-{kind}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(folder / names[kind])
            made.append({**names, "prompt": PROMPTS[pair % 3]})
        split = "train" if number < train else "validation"
        rows.append({"user": f"u{number}", "seen": split == "train", "split": split, "pairs": made})
    (folder / "users.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def write_config(folder: Path, **changes: Any) -> Path:
    """A configuration for the tiny base and a set, both written into `folder`; `changes` as YAML has them."""
    write_base(folder / "bases")
    write_users(folder / "set")
    spec = tiny.SPEC
    values = {
        "output": str(folder / "out"),
        "base": {"path": str(folder / "bases" / "tiny" / "base.safetensors")},
        "data": {"folder": str(folder / "set"), "history": 3, "image_size": 24, "validation": 10},
        "spec": {
            "turn": spec.turn,
            "image": spec.image,
            "labels": list(spec.labels),
            "num_tokens": 3,
            "sem_layers": [3, 4],
            "core_layers": [1, 2],
            "longest_edge": 24,
            "shortest_edge": 6,
            "max_prompt_tokens": 5,
        },
        "turn_without_prompt": "User:<image> Assistant: {label}<end_of_utterance>",
        "batch": 4,
        "per_device": 2,
        "lora": {"r": 2, "alpha": 2, "dropout": 0.0},
        "stage_one": {"steps": 6, "learning_rate": 1e-2},
        "stage_two": {"steps": 4, "learning_rate": 1e-2},
        "training": {"logging_steps": 1, "eval_steps": 3, "save_steps": 2, "use_cpu": True, "disable_tqdm": True},
    }
    file = folder / "run.yaml"
    file.write_text(json.dumps({**values, **changes}))
    return file
