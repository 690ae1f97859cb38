"""Trains the adapter on a dataset and writes it into a checkpoint.

    python -m train.adapter --checkpoint FILE --users DATASET --sdxl FOLDER

The checkpoint must contain PrefDisc and, unless sem_tokens is 0, an alignment (`train.align`). Use
`accelerate launch --multi_gpu -m train.adapter ...` for several GPUs, and ACCELERATE_MIXED_PRECISION=bf16 for bfloat16.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import torch
from accelerate import PartialState

from prefgen.adapter import AdapterConfig, PreferenceAdapter, diffusers_block_name
from prefgen.alignment import AlignmentConfig
from prefgen.checkpoint.file import read_checkpoint
from prefgen.checkpoint.preference_model import POCKET, PreferenceModel
from prefgen.errors import ModelError
from train.adapter.config import AdapterTrainingConfig
from train.adapter.dataset import EncodedUsers, SetBatches, check_captions, encode_users
from train.adapter.fit import train_adapter, write_adapter
from train.adapter.image_tower import add_image_tower
from train.adapter.initialisation import initialise_from_text
from train.adapter.sdxl import load_sdxl
from train.align.dataset import PAIRS
from train.bases import add_base_options, load_model
from train.prefdisc.dataset import read_users
from train.settings import SettingsError, read_settings


def main(argv: list[str] | None = None) -> dict:
    """Run the command and return the JSON values that it prints."""
    parser = argparse.ArgumentParser(prog="python -m train.adapter", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="sdxl", help="YAML file, or a name in train/configs/adapter")
    parser.add_argument("--checkpoint", type=Path, required=True, help="preference checkpoint to add the adapter to")
    parser.add_argument("--users", type=Path, required=True, help="dataset folder (users.jsonl and images)")
    parser.add_argument("--sdxl", type=Path, required=True, help="SDXL folder in diffusers' layout")
    parser.add_argument("--core-alignment", type=Path, help="for core_aligned=true: file from `train.align part=core`")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="precision of the UNet")
    parser.add_argument("--folder", type=Path, default=Path("out/adapter"), help="folder for states and embeddings")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to override, such as fusion=attention"
    )
    parser.add_argument(
        "--image-tower",
        metavar="CLIP",
        help="image encoder for the img tokens: a CLIP folder, or an open_clip name such as "
        "ViT-H-14:laion2b_s32b_b79k. It is written into the checkpoint. Not needed if the checkpoint already has one",
    )
    add_base_options(parser)
    args = parser.parse_intermixed_args(argv)
    if str(args.checkpoint) == POCKET:
        parser.error("the bundled checkpoint is trained by train.pocket; pass a different --checkpoint")
    config = read_settings(AdapterTrainingConfig, "adapter", args.config, args.overrides)
    if config.core_aligned != bool(args.core_alignment):
        raise SettingsError("core_aligned=true and --core-alignment must be used together. Pass both, or neither.")
    if config.target == "caption":
        check_captions(read_users(args.users, "train", PAIRS + 1))
    state = PartialState()
    with state.main_process_first():
        if args.image_tower:
            add_image_tower(args.checkpoint, args.image_tower)
    model = load_model(args.checkpoint, args, state.device)
    if config.img_tokens and model.image_tower is None:
        raise SettingsError(
            f"{args.checkpoint.name} has no image tower for the img tokens. Pass --image-tower, or set img_tokens=0."
        )
    with state.main_process_first():
        encoded = encode_users(model, args.users, args.folder / f"users-{model.encoder_fingerprint[:12]}.safetensors")
    # All histories are encoded. Free the base model and the image tower before loading SDXL.
    model.prefdisc = model.image_tower = None
    sdxl = load_sdxl(args.sdxl, getattr(torch, args.dtype)).to(state.device)
    adapter = build_adapter(model, encoded, sdxl.unet, config)
    if args.core_alignment:
        adapter.core_alignment.load_state_dict(read_checkpoint(args.core_alignment).part("alignment"))
    if config.start == "text":
        initialise_from_text(adapter, sdxl.unet)
    batches = SetBatches(encoded, sdxl, config)
    adapter = train_adapter(adapter, sdxl.unet, sdxl.scheduler, batches, config, args.folder / config.fusion)
    summary = {
        "steps": config.loop.steps,
        "batch": config.batch * state.num_processes,
        "seed": config.seed,
        "target": config.target,
    }
    if state.is_main_process:
        write_adapter(args.checkpoint, adapter, users=len(encoded.liked), **summary)
        print(json.dumps({"checkpoint": str(args.checkpoint), "users": len(encoded.liked), **summary}))
    return summary


def build_adapter(
    model: PreferenceModel, encoded: EncodedUsers, unet, config: AdapterTrainingConfig
) -> PreferenceAdapter:
    """Build a new adapter for a UNet and user embeddings.

    Raises:
        CheckpointError: The checkpoint has no alignment, but `config.sem_tokens` is not 0.
        ModelError: The width of the alignment's text space differs from the width of the UNet's pooled text.
    """
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    widths = {name: unet.get_submodule(name.removesuffix(".processor")).to_k.out_features for name in names}
    layers = unet.config.layers_per_block
    tokens = {part: getattr(config, f"{part}_tokens") for part in ("sem", "core", "img")}
    dims = {f"{part}_dim": encoded.dim(part) if count else 0 for part, count in tokens.items()}
    alignment = model.require("alignment") if tokens["sem"] else None
    text_dim = alignment.config.text_dim if alignment else encoded.dim("core")
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    if alignment and text_dim != pooled:
        raise ModelError(
            f"The alignment's text width is {text_dim}; expected {pooled}, the width of the UNet's pooled text. Train "
            "the alignment with the text encoders of the same SDXL model (train.align --text)."
        )
    shapes = AdapterConfig(
        **dims,
        text_dim=text_dim,
        context_dim=unet.config.cross_attention_dim,
        **{f"{part}_tokens": count for part, count in tokens.items()},
        hidden=config.hidden,
        blocks=tuple((diffusers_block_name(name, layers), width) for name, width in widths.items()),
        fusion=config.fusion,
        core_aligned=config.core_aligned,
    )
    torch.manual_seed(config.seed)
    adapter = PreferenceAdapter(shapes, alignment.config if alignment else AlignmentConfig(shapes.sem_dim, text_dim))
    if alignment:
        adapter.alignment.load_state_dict(alignment.state_dict())
    return adapter


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
