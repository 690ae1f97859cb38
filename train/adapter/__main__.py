"""`python -m train.adapter --checkpoint FILE --users SET --sdxl FOLDER`: train the adapter on a set, into a checkpoint.

The checkpoint has PrefDisc and, unless sem_tokens is 0, the alignment (train.align). On several GPUs:
`accelerate launch --multi_gpu -m train.adapter ...`; half precision: ACCELERATE_MIXED_PRECISION=bf16.
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
from prefgen.checkpoint.preference_model import POCKET, PreferenceModel, load_preference_model
from prefgen.errors import ModelError
from train.adapter.config import AdapterTraining
from train.adapter.dataset import EncodedUsers, SetBatches, check_captions, encode_users
from train.adapter.fit import train_adapter, write_adapter
from train.adapter.sdxl import load_sdxl
from train.adapter.start import start_from_text
from train.align.sources import PAIRS
from train.prefdisc.dataset import read_users
from train.settings import SettingsError, read_settings


def main(argv: list[str] | None = None) -> dict:
    """Read the command line, train, write the part."""
    parser = argparse.ArgumentParser(prog="python -m train.adapter", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="sdxl", help="a YAML file, or a name in train/configs/adapter")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the preference checkpoint that gets the part")
    parser.add_argument("--users", type=Path, required=True, help="a set made by train.data: users.jsonl and images")
    parser.add_argument("--sdxl", type=Path, required=True, help="a folder of SDXL in diffusers' layout")
    parser.add_argument("--core-alignment", type=Path, help="with core_aligned: what `train.align part=core` wrote")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the frozen UNet")
    parser.add_argument("--folder", type=Path, default=Path("out/adapter"), help="where states and embeddings are kept")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="over the file, such as fusion=attention")
    given = parser.parse_intermixed_args(argv)
    if str(given.checkpoint) == POCKET:
        parser.error("the bundled checkpoint is trained by train.pocket: name another --checkpoint")
    config = read_settings(AdapterTraining, "adapter", given.config, given.overrides)
    if config.core_aligned != bool(given.core_alignment):
        raise SettingsError("core_aligned and --core-alignment go together: give both, or neither.")
    if config.target == "caption":
        check_captions(read_users(given.users, "train", PAIRS + 1))
    state = PartialState()
    model = load_preference_model(given.checkpoint, state.device)
    with state.main_process_first():
        encoded = encode_users(model, given.users, given.folder / f"users-{model.reading[:12]}.safetensors")
    sdxl = load_sdxl(given.sdxl, getattr(torch, given.dtype)).to(state.device)
    adapter = build_adapter(model, encoded, sdxl.unet, config)
    if given.core_alignment:
        adapter.core_alignment.load_state_dict(read_checkpoint(given.core_alignment).part("alignment"))
    if config.start == "text":
        start_from_text(adapter, sdxl.unet)
    batches = SetBatches(encoded, sdxl, config)
    adapter = train_adapter(adapter, sdxl.unet, sdxl.scheduler, batches, config, given.folder / config.fusion)
    about = {
        "steps": config.loop.steps,
        "batch": config.batch * state.num_processes,
        "seed": config.seed,
        "target": config.target,
    }
    if state.is_main_process:
        write_adapter(given.checkpoint, adapter, users=len(encoded.liked), **about)
        print(json.dumps({"checkpoint": str(given.checkpoint), "users": len(encoded.liked), **about}))
    return about


def build_adapter(model: PreferenceModel, encoded: EncodedUsers, unet, config: AdapterTraining) -> PreferenceAdapter:
    """A new adapter for this UNet and these embeddings. Raises CheckpointError where the alignment is missing, and
    ModelError where it leads into another text space than the UNet's pooled text."""
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
            f"The alignment leads into a text space {text_dim} wide, and the UNet's pooled text is {pooled} wide: "
            "train it with the text encoders of this SDXL (train.align --text)."
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
