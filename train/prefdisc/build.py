"""Builds the PrefDisc of a run: loads and quantises the base model, and adds preference tokens and a LoRA."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import torch
from accelerate import PartialState

from prefgen.checkpoint.preference_model import POCKET
from prefgen.pocket.shapes import weights_path
from prefgen.prefdisc.base.base_model import Base, load_base_file
from prefgen.prefdisc.base.huggingface import is_folder, load_base_folder
from prefgen.prefdisc.config import PrefDiscSpec
from prefgen.prefdisc.model import PrefDisc
from train.prefdisc.checkpoints import FILE, load_prefdisc
from train.prefdisc.config import BaseConfig, RunConfig
from train.prefdisc.lora import inject_lora, lora_spec
from train.settings import SettingsError


def build_prefdisc(config: RunConfig) -> PrefDisc:
    """Build the initial model of a stage, with `requires_grad` set for its trainable parameters.

    Stage 1 starts with a new LoRA. Stage 2 loads it from a checkpoint and trains only the preference tokens. The
    tokens are initialised in the stage that introduces them (`config.tokens`).

    Raises:
        SettingsError: The settings are not compatible with the base model, or the checkpoint of stage 1 is missing.
        CheckpointError: The base model or the checkpoint cannot be read.
    """
    base = read_base(config.base)
    torch.manual_seed(config.seed)
    spec = spec_for(config, base)
    uniform = config.tokens.init == "uniform"
    width = base.model.config.text_config.hidden_size
    prefdisc = PrefDisc(base.model, base.tokenizer, spec, torch.rand(spec.num_tokens, width) if uniform else None)
    # The tokens are float32 like the LoRA, even on a half-precision base, because half precision would round updates of
    # 1e-5 away.
    prefdisc.tokens.data = prefdisc.tokens.data.float()
    first_stage = config.stage == 1
    inject_lora(prefdisc.base, prefdisc.spec.lora, config.current_dropout, config.lora.init)
    if not first_stage:
        start = Path(config.start) if config.start else replace(config, stage=1).folder / FILE
        if not start.is_file():
            raise SettingsError(f"Stage 2 starts from {start}, which does not exist. Run stage 1, or set start=FILE.")
        load_prefdisc(start, prefdisc, without_tokens=config.tokens.first_stage == 2)
        prefdisc.base.requires_grad_(False)
    prefdisc.tokens.requires_grad_(config.has_tokens)
    if config.checkpointing:
        # transformers 5 renamed the method. Reentrant checkpointing would need inputs with a gradient, which a frozen
        # base does not have.
        old_method = prefdisc.base.gradient_checkpointing_enable
        getattr(prefdisc.base, "activation_checkpointing_enable", old_method)({"use_reentrant": False})
    return prefdisc


def spec_for(config: RunConfig, base: Base) -> PrefDiscSpec:
    """Return the specification of the run's checkpoints.

    Raises:
        SettingsError: `PrefDiscSpec` does not accept the values of `config.spec`, or `turn_without_prompt` is missing.
    """
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in config.spec.items()}
    others = {"base", "revision", "lora", "square"}
    unknown = set(values) - {field.name for field in fields(PrefDiscSpec)} | set(values) & others
    if unknown:
        raise SettingsError(f"spec.{min(unknown)} is not a known key, or is determined by other settings. Remove it.")
    if not config.mode_flags.prompts:
        if not config.turn_without_prompt:
            raise SettingsError(f"Mode {config.mode!r} uses turns without prompts. Set turn_without_prompt.")
        values["turn"] = config.turn_without_prompt
    if not config.has_tokens:
        values["num_tokens"] = 0
    size = config.data.image_size
    try:
        spec = PrefDiscSpec(base=base.id, revision=base.revision, lora=lora_spec(config.lora), **values)
        # Scoring must resize images to the same squares as the training. Some specs already do.
        return spec if spec.longest_edge == spec.shortest_edge == size else replace(spec, square=size)
    except TypeError as error:
        raise SettingsError(f"The values of spec are invalid ({error}).") from error


def read_base(config: BaseConfig) -> Base:
    """Load the base model.

    Raises:
        SettingsError: The base model cannot be quantised.
        CheckpointError: The base model cannot be read.
    """
    path = weights_path("prefdisc") if config.path == POCKET else Path(config.path)
    dtype = getattr(torch, config.dtype)
    if config.quantize != "none":
        if not is_folder(path):
            raise SettingsError(f"base.quantize={config.quantize!r} needs a base.path folder in Hugging Face's format.")
        return load_base_folder(
            path, config.id or path.name, dtype, quantize=config.quantize, device=PartialState().device
        )
    if is_folder(path):
        return load_base_folder(path, config.id or path.name, dtype)
    base = load_base_file(path, dtype)
    return replace(base, id=config.id) if config.id else base
