"""The PrefDisc of a run: the base model read, quantised where asked, with P_v before it and the LoRA over it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import torch
from accelerate import PartialState

from prefgen.checkpoint.preference_model import POCKET
from prefgen.pocket.shapes import weights_path
from prefgen.prefdisc.base.base_model import Base, load_base
from prefgen.prefdisc.base.huggingface import is_folder, load_folder
from prefgen.prefdisc.config import PrefDiscSpec
from prefgen.prefdisc.model import PrefDisc
from train.prefdisc.checkpoints import FILE, load_prefdisc
from train.prefdisc.config import BaseConfig, RunConfig
from train.prefdisc.lora import lay_lora, lora_spec
from train.settings import SettingsError


def build_prefdisc(config: RunConfig) -> PrefDisc:
    """The model that a stage begins with, its trainable parameters marked.

    Stage 1: a new LoRA over the base, and new preference tokens. Stage 2: those of the checkpoint it starts from, of
    which only the preference tokens are trainable. Raises SettingsError and CheckpointError.
    """
    base = read_base(config.base)
    torch.manual_seed(config.seed)
    prefdisc = PrefDisc(base.model, base.tokenizer, spec_for(config, base))
    # Float32 over a half-precision base, as the LoRA is: steps of 1e-5 would be rounded away.
    prefdisc.tokens.data = prefdisc.tokens.data.float()
    first = config.stage == 1
    # Stage 2 trains beneath the LoRA's own noise if that goes on dropping.
    lay_lora(prefdisc.base, prefdisc.spec.lora, config.lora.dropout if first else 0.0, config.lora.init)
    if not first:
        start = Path(config.start) if config.start else replace(config, stage=1).folder / FILE
        if not start.is_file():
            raise SettingsError(f"Stage 2 starts from {start}, which is not there: run stage 1, or give start=FILE.")
        load_prefdisc(start, prefdisc)
        prefdisc.base.requires_grad_(False)
    prefdisc.tokens.requires_grad_(config.what.tokens)
    if config.checkpointing:
        # Named anew in transformers 5. Not re-entrant: the inputs of a frozen base carry no gradient.
        old = prefdisc.base.gradient_checkpointing_enable
        getattr(prefdisc.base, "activation_checkpointing_enable", old)({"use_reentrant": False})
    return prefdisc


def spec_for(config: RunConfig, base: Base) -> PrefDiscSpec:
    """How the checkpoints of this run read. Raises SettingsError for a field that PrefDiscSpec does not have."""
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in config.spec.items()}
    unknown = set(values) - {field.name for field in fields(PrefDiscSpec)} | set(values) & {"base", "revision", "lora"}
    if unknown:
        raise SettingsError(f"spec.{min(unknown)} is not a thing to choose: take it out of the configuration.")
    if not config.what.prompts:
        if not config.turn_without_prompt:
            raise SettingsError(f"Mode {config.mode!r} has turns without a prompt: give turn_without_prompt.")
        values["turn"] = config.turn_without_prompt
    if not config.what.tokens:
        values["num_tokens"] = 0
    try:
        return PrefDiscSpec(base=base.id, revision=base.revision, lora=lora_spec(config.lora), **values)
    except TypeError as error:
        raise SettingsError(f"The configuration's spec does not fit ({error}): correct it.") from error


def read_base(config: BaseConfig) -> Base:
    """The base model. Raises SettingsError where it cannot be quantised, CheckpointError where it cannot be read."""
    path = weights_path("prefdisc") if config.path == POCKET else Path(config.path)
    dtype = getattr(torch, config.dtype)
    if config.quantize != "none":
        if not is_folder(path):
            raise SettingsError(f"base.quantize is {config.quantize!r}, which needs a folder in Hugging Face's format.")
        return load_folder(path, config.id or path.name, dtype, quantize=config.quantize, device=PartialState().device)
    if is_folder(path):
        return load_folder(path, config.id or path.name, dtype)
    base = load_base(path, dtype)
    return replace(base, id=config.id) if config.id else base
