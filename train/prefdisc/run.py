"""Runs or resumes one stage of a PrefDisc training from its settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainingArguments

from prefgen.errors import PrefGenError
from train.prefdisc.build import build_prefdisc
from train.prefdisc.checkpoints import FILE, last_complete
from train.prefdisc.collator import Collator
from train.prefdisc.config import RunConfig
from train.prefdisc.dataset import check_disjoint, read_users
from train.prefdisc.feature_cache import encode_images, list_images
from train.prefdisc.learner import Learner, trainable_parameters
from train.prefdisc.trainer import PrefDiscTrainer
from train.prefdisc.trials import Trials
from train.settings import SettingsError, first_difference

log = logging.getLogger(__name__)

CONFIG = "config.json"
CHANGEABLE = ("training", "per_device", "cache_features", "cache_folder", "checkpointing")
"""Settings that may change when a run is resumed: logging, saving, and use of the hardware."""
VALIDATION_SEED = 1_000_003  # added to the run's seed


class ProcessLostError(PrefGenError):
    """Another process of the run has ended unexpectedly."""


def run(config: RunConfig) -> dict[str, Any]:
    """Train one stage, or resume it, and write `preference.safetensors` into its folder.

    Returns:
        "stage", "mode", "processes", "steps", "trainable" (number of trainable parameters), "train_loss", "eval_loss",
        "eval_accuracy" and "eval_accuracy_stderr", "losses" (for each logged step), and "checkpoint" (the file).
    """
    PartialState(cpu=bool(config.training.get("use_cpu")))  # the first PartialState selects gloo or nccl
    check_same_run(config)  # before large files are read
    trainer = make_trainer(config)
    if PartialState().is_main_process:
        save_run_config(config)
    resumed = last_complete(config.folder, trainer.args.world_size, trainer.optimizer_kind)
    if resumed:
        log.info("Resuming %s.", resumed)
    with report_lost_processes(config, trainer):
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        metrics = trainer.evaluate()
    checkpoint = config.folder / FILE
    trainer.save_model(str(config.folder))
    trainer.accelerator.wait_for_everyone()
    losses = {row["step"]: row["loss"] for row in trainer.state.log_history if "loss" in row}
    return {
        "stage": config.stage,
        "mode": config.mode,
        "processes": trainer.args.world_size,
        "steps": trainer.state.global_step,
        "trainable": sum(p.numel() for p in trainable_parameters(trainer.model).values()),
        "train_loss": losses[max(losses)] if losses else None,
        "eval_loss": metrics["eval_loss"],
        "eval_accuracy": metrics["eval_accuracy"],
        "eval_accuracy_stderr": metrics["eval_accuracy_stderr"],
        "losses": losses,
        "checkpoint": str(checkpoint),
    }


def make_trainer(config: RunConfig) -> PrefDiscTrainer:
    """Build the trainer of a run with its data and model.

    Raises:
        PrefGenError: The settings, the dataset and the base model are not compatible with each other.
    """
    train, validation = (read_users(config.data.folder, split) for split in ("train", "validation"))
    check_disjoint(train, validation)
    args = training_arguments(config)
    prefdisc = build_prefdisc(config)
    cache = None
    if config.cache_features:
        prefdisc.to(args.device)
        folder = Path(config.cache_folder) if config.cache_folder else config.folder / "features"
        cache = encode_images(prefdisc, list_images(train, validation), config.data.image_size, folder)
    prompts, count = config.mode_flags.prompts, config.current_stage.steps * config.batch
    as_scored = replace(config.data, random_order=False)
    return _trainer(
        Learner(prefdisc, config.loss, split_long=not config.checkpointing),
        config,
        Collator(prefdisc.template, config.data.image_size, cache),
        Trials(train, config.data, count, config.seed, prompts),
        Trials(validation, as_scored, config.data.validation, config.seed + VALIDATION_SEED, prompts),
        args,
    )


def _trainer(*arguments: Any) -> PrefDiscTrainer:
    """Build the trainer.

    Raises:
        SettingsError: The package of a reporter (training.report_to) is not installed.
    """
    try:
        return PrefDiscTrainer(*arguments)
    except (ImportError, RuntimeError) as error:
        if "report_to" in str(error) or "install" in str(error):
            raise SettingsError(f"training.report_to cannot be used ({error}).") from error
        raise


def training_arguments(config: RunConfig) -> TrainingArguments:
    """Return transformers' arguments.

    Raises:
        SettingsError: `config.training` has an unknown argument, or one that is determined by other settings.
    """
    fixed = {
        "output_dir": str(config.folder),
        "max_steps": config.current_stage.steps,
        "learning_rate": config.current_stage.learning_rate,
        "weight_decay": config.weight_decay,
        "per_device_train_batch_size": config.per_device,
        "gradient_accumulation_steps": config.accumulation(PartialState().num_processes),
        "seed": config.seed,
        "remove_unused_columns": False,
    }
    defaults = {
        "per_device_eval_batch_size": config.per_device,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "save_total_limit": 2,
        "report_to": "none",
        "ddp_find_unused_parameters": False,
    }
    conflicts = sorted(set(fixed) & set(config.training))
    if conflicts:
        raise SettingsError(f"training.{conflicts[0]} is determined by another setting. Remove it.")
    try:
        return TrainingArguments(**defaults | config.training | fixed)
    except TypeError as error:
        raise SettingsError(f"training: {error}; expected arguments of transformers' TrainingArguments.") from error


@contextmanager
def report_lost_processes(config: RunConfig, trainer: PrefDiscTrainer) -> Iterator[None]:
    """Convert communication errors into an error that explains how to resume.

    Raises:
        ProcessLostError: Another process of the run has ended unexpectedly.
    """
    try:
        yield
    except RuntimeError as error:
        if trainer.args.world_size == 1 or not _is_communication_error(error):
            raise
        last = last_complete(config.folder, trainer.args.world_size, trainer.optimizer_kind)
        raise ProcessLostError(
            f"Process {trainer.args.process_index} of {trainer.args.world_size} lost another process after step "
            f"{trainer.state.global_step} of {trainer.args.max_steps} ({' '.join(str(error).split()[:20])}). The "
            "output of that process or of the launcher shows the cause. Run the same command again to resume from "
            f"{last.name if last else 'the beginning, because there is no complete checkpoint'}."
        ) from error


def _is_communication_error(error: RuntimeError) -> bool:
    """Return whether an error means a lost process. NCCL raises its own type; gloo is recognised by its messages."""
    return isinstance(error, torch.distributed.DistError) or any(
        text in str(error) for text in ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")
    )


def check_same_run(config: RunConfig) -> None:
    """Check that the output folder does not contain a run with different settings.

    Raises:
        SettingsError: The folder contains a run with different settings, or the run's settings cannot be read.
    """
    file, ours = config.folder / CONFIG, _fixed_settings(config)
    if not file.exists():
        return
    try:
        theirs = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(
            f"{file} is damaged ({error}). Set a different output=FOLDER, or delete that run."
        ) from error
    if (key := first_difference(theirs, ours)) is not None:
        raise SettingsError(
            f"{config.folder} contains a run with {key}={theirs.get(key)!r}; this run has {ours.get(key)!r}. Set "
            "a different output=FOLDER, or delete that run."
        )


def save_run_config(config: RunConfig) -> None:
    """Write the settings of a new run into its folder."""
    file = config.folder / CONFIG
    if not file.exists():
        config.folder.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".partial")  # so that a run killed here leaves no incomplete file
        temporary.write_text(json.dumps(_fixed_settings(config), indent=1), encoding="utf-8")
        temporary.replace(file)


def _fixed_settings(config: RunConfig) -> dict[str, Any]:
    return json.loads(json.dumps({key: value for key, value in config.to_json().items() if key not in CHANGEABLE}))
