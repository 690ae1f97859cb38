"""A run from its configuration: data, model, Trainer; resumed where it was begun."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainingArguments

from prefgen.errors import PrefGenError
from train.prefdisc.base import build_prefdisc
from train.prefdisc.batches import Collator
from train.prefdisc.checkpoints import FILE, last_complete
from train.prefdisc.config import RunConfig
from train.prefdisc.dataset import check_disjoint, read_users
from train.prefdisc.features import encode_all, images_of
from train.prefdisc.learner import Learner, trainable
from train.prefdisc.trainer import PrefDiscTrainer
from train.prefdisc.trials import Trials
from train.settings import SettingsError, first_difference

log = logging.getLogger(__name__)

CONFIG = "config.json"
# What may be another in a resumed run: how often it reports and saves, and how the machine does the work.
FREE = ("training", "per_device", "cache_features", "cache_folder", "checkpointing")
VALIDATION_SEED = 1_000_003  # added to the run's: other draws than the training's, the same in every evaluation


class ProcessLostError(PrefGenError):
    """A process of a run has ended while this one went on."""


def run(config: RunConfig) -> dict[str, Any]:
    """Train one stage, or go on where it was killed; write `preference.safetensors` into its folder.

    Returns what was reached: stage, mode, processes, steps, trainable (parameters), train_loss, eval_accuracy (with its
    standard error), losses (of each logged step) and checkpoint (the file).
    """
    PartialState(cpu=bool(config.training.get("use_cpu")))  # the first one decides for all: gloo, or nccl
    check_same(config)  # before anything large is read
    trainer = make_trainer(config)
    if PartialState().is_main_process:
        remember(config)
    resumed = last_complete(config.folder, trainer.args.world_size, trainer.optimizer_kind)
    if resumed:
        log.info("resuming %s", resumed)
    with reported(config, trainer):
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        measured = trainer.evaluate()
    checkpoint = config.folder / FILE
    trainer.save_model(str(config.folder))
    trainer.accelerator.wait_for_everyone()
    losses = {row["step"]: row["loss"] for row in trainer.state.log_history if "loss" in row}
    return {
        "stage": config.stage,
        "mode": config.mode,
        "processes": trainer.args.world_size,
        "steps": trainer.state.global_step,
        "trainable": sum(p.numel() for p in trainable(trainer.model).values()),
        "train_loss": losses[max(losses)] if losses else None,
        "eval_loss": measured["eval_loss"],
        "eval_accuracy": measured["eval_accuracy"],
        "eval_accuracy_stderr": measured["eval_accuracy_stderr"],
        "losses": losses,
        "checkpoint": str(checkpoint),
    }


def make_trainer(config: RunConfig) -> PrefDiscTrainer:
    """Everything that `run` trains with. Raises the family's errors for a configuration or data that do not fit."""
    train, validation = (read_users(config.data.folder, split) for split in ("train", "validation"))
    check_disjoint(train, validation)
    args = training_arguments(config)
    prefdisc = build_prefdisc(config)
    table = None
    if config.cache_features:
        prefdisc.to(args.device)
        folder = Path(config.cache_folder) if config.cache_folder else config.folder / "features"
        table = encode_all(prefdisc, images_of(train, validation), config.data.image_size, folder)
    prompts, count = config.what.prompts, config.now.steps * config.batch
    return _trainer(
        Learner(prefdisc, config.loss, apart=not config.checkpointing),
        config,
        Collator(prefdisc.turns, config.data.image_size, table),
        Trials(train, config.data, count, config.seed, prompts),
        Trials(validation, config.data, config.data.validation, config.seed + VALIDATION_SEED, prompts),
        args,
    )


def _trainer(*arguments: Any) -> PrefDiscTrainer:
    """Raises SettingsError where a reporter (training.report_to) is not installed: transformers says which."""
    try:
        return PrefDiscTrainer(*arguments)
    except (ImportError, RuntimeError) as error:
        if "report_to" in str(error) or "install" in str(error):
            raise SettingsError(f"training.report_to cannot be used: {error}") from error
        raise


def training_arguments(config: RunConfig) -> TrainingArguments:
    """transformers' arguments. Those that `RunConfig` decides cannot be given again in `training`."""
    decided = {
        "output_dir": str(config.folder),
        "max_steps": config.now.steps,
        "learning_rate": config.now.learning_rate,
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
    twice = sorted(set(decided) & set(config.training))
    if twice:
        raise SettingsError(f"training.{twice[0]} is decided by another key of the configuration: take it out.")
    try:
        return TrainingArguments(**defaults | config.training | decided)
    except TypeError as error:
        raise SettingsError(f"training: {error}; expected arguments of transformers' TrainingArguments.") from error


@contextmanager
def reported(config: RunConfig, trainer: PrefDiscTrainer) -> Iterator[None]:
    """Raises ProcessLostError, which says what is to be done, where another process of the run has ended."""
    try:
        yield
    except RuntimeError as error:
        if trainer.args.world_size == 1 or not _is_of_communication(error):
            raise
        last = last_complete(config.folder, trainer.args.world_size, trainer.optimizer_kind)
        raise ProcessLostError(
            f"Process {trainer.args.process_index} of {trainer.args.world_size} found another one gone, after step "
            f"{trainer.state.global_step} of {trainer.args.max_steps} ({' '.join(str(error).split()[:20])}). What the "
            "other one said, and the launcher, tell which and why. Give the same command again: it goes on from "
            f"{last.name if last else 'the beginning, as there is no complete checkpoint yet'}."
        ) from error


def _is_of_communication(error: RuntimeError) -> bool:
    """NCCL's errors have a type of their own; gloo's have not."""
    return isinstance(error, torch.distributed.DistError) or any(
        said in str(error) for said in ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")
    )


def check_same(config: RunConfig) -> None:
    """Raises SettingsError where the folder has a run of another configuration."""
    file, ours = config.folder / CONFIG, _remembered(config)
    if not file.exists():
        return
    try:
        theirs = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{file} is damaged ({error}): give another output=FOLDER, or delete that run.") from error
    if (key := first_difference(theirs, ours)) is not None:
        raise SettingsError(
            f"{config.folder} holds a run with {key} {theirs.get(key)!r}, this one has {ours.get(key)!r}: "
            "give another output=FOLDER, or delete that run."
        )


def remember(config: RunConfig) -> None:
    """Keep the configuration beside the run that begins with it."""
    file = config.folder / CONFIG
    if not file.exists():
        config.folder.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".partial")  # a kill while it is written leaves no half of one
        beside.write_text(json.dumps(_remembered(config), indent=1), encoding="utf-8")
        beside.replace(file)


def _remembered(config: RunConfig) -> dict[str, Any]:
    return json.loads(json.dumps({key: value for key, value in config.to_json().items() if key not in FREE}))
