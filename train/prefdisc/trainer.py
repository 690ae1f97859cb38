"""transformers' Trainer with PrefDisc's loss, its trials in their own order, and preference checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import FullyShardedDataParallelPlugin, save_fsdp_optimizer
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy, StateDictType
from torch.utils.data import Dataset, SequentialSampler
from transformers import EvalPrediction, Trainer, TrainingArguments
from transformers.trainer import SCHEDULER_NAME

from prefgen.losses import preference_loss
from train.prefdisc.batches import Collator
from train.prefdisc.checkpoints import (
    DEEPSPEED,
    FILE,
    FSDP,
    PLAIN,
    learnt,
    load_prefdisc,
    save_prefdisc,
)
from train.prefdisc.config import RunConfig
from train.prefdisc.learner import Learner
from train.settings import SettingsError


class PrefDiscTrainer(Trainer):
    """Trains a Learner on Trials, of which `train_dataset` holds as many as the whole run needs, in their order."""

    # Every batch's loss is its own mean, and all batches are of one size: transformers divides by the accumulation.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        learner: Learner,
        config: RunConfig,
        collator: Collator,
        train: Dataset,
        validation: Dataset,
        args: TrainingArguments,
    ) -> None:
        super().__init__(learner, args, collator, train, validation, compute_metrics=pairwise_accuracy)
        self.config = config
        self.model_accepts_loss_kwargs = False
        if self.is_fsdp_enabled:
            set_up_fsdp(self.accelerator.state.fsdp_plugin, self.args.bf16)

    @property
    def optimizer_kind(self) -> str:
        """Who keeps the optimiser's state: one of OPTIMIZERS."""
        return FSDP if self.is_fsdp_enabled else DEEPSPEED if self.is_deepspeed_enabled else PLAIN

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        """Trials are shuffled by their numbers already; in order, the processes of a step share its batch."""
        return SequentialSampler(self.train_dataset)

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Tensor]:
        """L_all, or L_base in the modes without the contrastive loss (method.md section 2)."""
        logits = model(**inputs)
        labels = self.accelerator.unwrap_model(model).labels
        loss = preference_loss(logits[:, 0], logits[:, 1], labels, self.config.what.contrastive)
        return (loss, logits) if return_outputs else loss

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The loss, and for each pair Q(liked) against Q(disliked) as (M+ - M-) of both (B, 2). No labels: by order."""
        with torch.no_grad():
            loss, logits = self.compute_loss(model, self._prepare_inputs(inputs), return_outputs=True)
        like, dislike = self.accelerator.unwrap_model(model).labels
        margins = logits[..., like] - logits[..., dislike]
        return loss, margins, torch.zeros(len(margins), device=margins.device)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """A preference checkpoint instead of all weights: what was trained, a few MB of the base's many GB. Every
        process takes part, since each may hold a piece."""
        prefdisc = self.accelerator.unwrap_model(self.model).prefdisc
        tensors = learnt(prefdisc)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_prefdisc(folder / FILE, prefdisc, self.summary(), tensors)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """transformers' own, but that FSDP does not write the frozen base's 16 GB beside the optimiser's states."""
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        save_fsdp_optimizer(
            self.accelerator.state.fsdp_plugin, self.accelerator, self.optimizer, self.model, output_dir
        )
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        learner = self.accelerator.unwrap_model(model or self.model)
        load_prefdisc(Path(resume_from_checkpoint) / FILE, learner.prefdisc)

    def summary(self) -> dict[str, Any]:
        """What a checkpoint's header says of its training."""
        said = {"stage": self.config.stage, "mode": self.config.mode, "steps": self.state.global_step}
        said |= {"batch": self.config.batch, "seed": self.config.seed, "processes": self.args.world_size}
        measured = [row["eval_accuracy"] for row in self.state.log_history if "eval_accuracy" in row]
        return said | ({"validation_accuracy": round(measured[-1], 4)} if measured else {})


def set_up_fsdp(plugin: FullyShardedDataParallelPlugin, half: bool) -> None:
    """What PrefDisc needs of FSDP. Raises SettingsError for its first version, which flattens parameters, and for
    checkpoints that are not in pieces."""
    if plugin.fsdp_version != 2 or plugin.state_dict_type != StateDictType.SHARDED_STATE_DICT:
        raise SettingsError(
            f"FSDP version {plugin.fsdp_version} with {plugin.state_dict_type} was chosen, expected fsdp_version 2 and "
            "fsdp_state_dict_type SHARDED_STATE_DICT: use train/configs/accelerate/fsdp.yaml, or set both."
        )
    if half:
        # accelerate's own would round the logits, the pixels and the gradients' sums to bfloat16 as well.
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )


def pairwise_accuracy(found: EvalPrediction) -> dict[str, float]:
    """How often Q of the liked target is above Q of the disliked one (a tie counts half), and its standard error."""
    margins = np.asarray(found.predictions)
    right = (margins[:, 0] > margins[:, 1]) + 0.5 * (margins[:, 0] == margins[:, 1])
    return {"accuracy": float(right.mean()), "accuracy_stderr": float(right.std() / len(right) ** 0.5)}
