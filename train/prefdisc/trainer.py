"""transformers' Trainer with PrefDisc's loss, sequential trials and preference checkpoints."""

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
from train.prefdisc.checkpoints import (
    DEEPSPEED,
    FILE,
    FSDP,
    PLAIN,
    load_prefdisc,
    save_prefdisc,
    trained_tensors,
)
from train.prefdisc.collator import Collator
from train.prefdisc.config import RunConfig
from train.prefdisc.learner import Learner
from train.settings import SettingsError


class PrefDiscTrainer(Trainer):
    """Trains a `Learner` on `Trials`. The training dataset contains all trials of the run, in order."""

    # The loss is the mean over a batch, and all batches have the same size. So transformers must divide the loss by the
    # number of accumulated batches.
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
        """Backend that keeps the optimiser's state, one of OPTIMIZERS."""
        return FSDP if self.is_fsdp_enabled else DEEPSPEED if self.is_deepspeed_enabled else PLAIN

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        """Return a sequential sampler, because trials are already shuffled and processes share the batch of a step."""
        return SequentialSampler(self.train_dataset)

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Compute L_all, or L_base in modes without the contrastive loss (paper index section 2)."""
        logits = model(**inputs)
        labels = self.accelerator.unwrap_model(model).labels
        loss = preference_loss(logits[:, 0], logits[:, 1], labels, self.config.mode_flags.contrastive)
        return (loss, logits) if return_outputs else loss

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the loss and the margins (M+ - M-) of the liked and the disliked target, (B, 2).

        The returned labels are unused zeros, because the liked target always comes first.
        """
        with torch.no_grad():
            loss, logits = self.compute_loss(model, self._prepare_inputs(inputs), return_outputs=True)
        like, dislike = self.accelerator.unwrap_model(model).labels
        margins = logits[..., like] - logits[..., dislike]
        return loss, margins, torch.zeros(len(margins), device=margins.device)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write a preference checkpoint with the trained tensors only: a few MB instead of the base's many GB.

        All processes must call this, because each may hold a shard.
        """
        prefdisc = self.accelerator.unwrap_model(self.model).prefdisc
        tensors = trained_tensors(prefdisc)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_prefdisc(folder / FILE, prefdisc, self.summary(), tensors)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Save as transformers does. With FSDP, leave out the 16 GB of the frozen base."""
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
        """Return the training metadata for a checkpoint's header."""
        summary = {"stage": self.config.stage, "mode": self.config.mode, "steps": self.state.global_step}
        summary |= {"batch": self.config.batch, "seed": self.config.seed, "processes": self.args.world_size}
        accuracies = [row["eval_accuracy"] for row in self.state.log_history if "eval_accuracy" in row]
        return summary | ({"validation_accuracy": round(accuracies[-1], 4)} if accuracies else {})


def set_up_fsdp(plugin: FullyShardedDataParallelPlugin, bfloat16: bool) -> None:
    """Check and adapt the FSDP settings.

    Args:
        plugin: accelerate's FSDP settings.
        bfloat16: Whether to compute in bfloat16.

    Raises:
        SettingsError: The FSDP version is 1, which flattens parameters, or checkpoints are not sharded.
    """
    if plugin.fsdp_version != 2 or plugin.state_dict_type != StateDictType.SHARDED_STATE_DICT:
        raise SettingsError(
            f"fsdp_version is {plugin.fsdp_version} and fsdp_state_dict_type is {plugin.state_dict_type}; expected 2 "
            "and SHARDED_STATE_DICT. Use train/configs/accelerate/fsdp.yaml."
        )
    if bfloat16:
        # accelerate's own policy would also round logits, pixels and gradient sums to bfloat16.
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )


def pairwise_accuracy(evaluation: EvalPrediction) -> dict[str, float]:
    """Return the share of pairs whose liked target has the higher Q (ties count half), with its standard error."""
    margins = np.asarray(evaluation.predictions)
    correct = (margins[:, 0] > margins[:, 1]) + 0.5 * (margins[:, 0] == margins[:, 1])
    return {"accuracy": float(correct.mean()), "accuracy_stderr": float(correct.std() / len(correct) ** 0.5)}
