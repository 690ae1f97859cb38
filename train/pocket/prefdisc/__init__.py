"""Trains and exports the pocket PrefDisc: first the vision tower, then the decoder, then the preference tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prefgen.checkpoint.file import write_part
from prefgen.prefdisc.base.base_model import save_base
from prefgen.prefdisc.model import PrefDisc
from train.data.agents import World
from train.pocket.prefdisc.architecture import BASE, base_config
from train.pocket.prefdisc.decoder_training import DecoderConfig, train_decoder
from train.pocket.prefdisc.validation import validate
from train.pocket.prefdisc.vision_training import VisionConfig, train_vision

SHIPPED = Path(__file__).parents[3] / "prefgen" / "pocket"
LICENCE = "Apache-2.0"
SIGHT, TASTE = VisionConfig(), DecoderConfig()


def train(
    folder: Path, sight: VisionConfig = SIGHT, taste: DecoderConfig = TASTE, out: Path = SHIPPED
) -> dict[str, float]:
    """Train or resume, export the model, and return its accuracies on validation users and posters.

    Args:
        folder: Folder for states and logs.
        sight: Settings of the vision training.
        taste: Settings of the decoder training.
        out: Folder for prefdisc.safetensors, tokenizer.json and the PrefDisc part of preference.safetensors.
    """
    world = World.load()
    prefdisc, table = train_vision(folder, sight)
    prefdisc = train_decoder(prefdisc, table, world, folder, taste)
    accuracies = validate(prefdisc, world)
    export(prefdisc, out, accuracies)
    return accuracies


def export(prefdisc: PrefDisc, out: Path, accuracies: dict[str, float]) -> None:
    """Write the base model, its tokenizer, and the PrefDisc part of the checkpoint with its metrics."""
    tokenizer = prefdisc.template.tokenizer
    config = base_config(tokenizer)
    revision = save_base(out / "prefdisc.safetensors", BASE, config, prefdisc.base, tokenizer)
    spec = replace(prefdisc.spec, revision=revision)
    write_part(
        out / "preference.safetensors",
        "prefdisc",
        spec.to_json(),
        {"tokens": prefdisc.tokens},
        licence=LICENCE,
        image_tower=BASE,
        training={"prefdisc": accuracies},
    )
