"""Computes the memory and hours of a training run for each number of GPUs, and formats them as Markdown and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefgen.prefdisc.config import PrefDiscSpec
from train.needs.cost_model import (
    Forward,
    Memory,
    Trial,
    count_forward_flops,
    estimate_memory,
    trial_size,
)
from train.needs.shapes import IDEFICS2_8B, build_meta_model
from train.prefdisc.config import RunConfig

GIB, TERA, EXA = 2**30, 1e12, 1e18
TURN_TOKENS = 104
"""Number of tokens in a turn: 66 for its image, the rest for Idefics2's template and a prompt of about 20 tokens."""
UNKNOWN = "not measured"
WEIGHTS = {"none": "bfloat16", "nf4": "4 bits"}
"""Precision of the base's weights for each value of `base.quantize`."""
PARTS = {
    "frozen": "frozen weights",
    "trainable": "the LoRA, its gradient and AdamW's moments",
    "checkpoints": "activations stored between layers",
    "layer": "activations inside one layer",
}


@dataclass(frozen=True)
class Row:
    """Memory and hours for one number of GPUs.

    Attributes:
        gpus: Number of GPUs.
        per_device: Number of pairs in a forward pass on each GPU.
        accumulation: Number of forward passes in an optimiser step.
        ddp: Memory per GPU with DDP.
        fsdp: Memory per GPU with FSDP.
        hours: Hours for both stages, computed from measured seconds. None if there is no measurement.
        assumed_hours: Hours for both stages at the assumed throughput. None if no throughput is assumed.
    """

    gpus: int
    per_device: int
    accumulation: int
    ddp: Memory
    fsdp: Memory
    hours: float | None
    assumed_hours: float | None


@dataclass(frozen=True)
class Needs:
    """Compute, memory and hours that a training run needs.

    Attributes:
        config: Settings of the training.
        trial: Size of a trial.
        forward: FLOPs of a trial's forward pass.
        frozen: Number of frozen parameters.
        trainable: Number of trainable parameters.
        rows: Memory and hours for each number of GPUs.
        card: Name of the card used for the measurement, or "".
        reached: Assumed TFLOP/s per GPU, or None.
    """

    config: RunConfig
    trial: Trial
    forward: Forward
    frozen: int
    trainable: int
    rows: tuple[Row, ...]
    card: str = ""
    reached: float | None = None

    def step(self, stage: int) -> float:
        """Return the FLOPs of one trial in an optimiser step."""
        return self.forward.step_flops(stage, self.config.checkpointing)

    @property
    def total(self) -> float:
        """FLOPs of both stages."""
        return total_flops(self.config, self.forward)


def compute_needs(
    config: RunConfig,
    gpus: list[int],
    seconds: tuple[float, float] | None = None,
    card: str = "",
    reached: float | None = None,
) -> Needs:
    """Compute the needs of a training run for each number of GPUs.

    Args:
        config: Settings of the training.
        gpus: Numbers of GPUs.
        seconds: Measured seconds for a forward and backward pass over per_device pairs on `card`, one value per stage.
        card: Name of the card used for the measurement.
        reached: Assumed TFLOP/s per GPU.
    """
    base = build_meta_model(IDEFICS2_8B, config)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in config.spec.items()}
    spec = PrefDiscSpec(base=config.base.id, revision="", **values)
    trial = trial_size(spec, config.data.history, TURN_TOKENS, IDEFICS2_8B["vision_config"]["patch_size"])
    forward = count_forward_flops(base, trial)
    rows = []
    for count in gpus:
        per_device = min(config.per_device, max(1, config.batch // count))
        forwards = config.batch // (per_device * count)
        # Seconds are assumed to be proportional to the number of pairs.
        hours_per_second = forwards * per_device / config.per_device / 3600
        stages = (config.stage_one, config.stage_two)
        rows.append(
            Row(
                count,
                per_device,
                forwards,
                estimate_memory(base, trial, per_device, config.base.quantize != "none"),
                estimate_memory(base, trial, per_device, False, count),
                seconds and sum(s.steps * hours_per_second * each for s, each in zip(stages, seconds, strict=True)),
                reached and total_flops(config, forward) / (reached * TERA * count) / 3600,
            )
        )
    counts = [sum(p.numel() for p in base.parameters() if p.requires_grad is grad) for grad in (False, True)]
    return Needs(config, trial, forward, *counts, tuple(rows), card, reached)


def total_flops(config: RunConfig, forward: Forward) -> float:
    """Return the FLOPs of both stages."""
    stages = ((1, config.stage_one.steps), (2, config.stage_two.steps))
    return sum(steps * config.batch * forward.step_flops(stage, config.checkpointing) for stage, steps in stages)


def markdown(needs: Needs) -> str:
    """Format the estimate as a section of a Markdown page."""
    config, trial, first = needs.config, needs.trial, needs.rows[0]
    rate = f"{needs.reached:g} TFLOP/s" if needs.reached else "a given throughput"
    columns = [
        "GPUs",
        "pairs per forward × forwards per step",
        f"GiB per GPU: DDP, {WEIGHTS[config.base.quantize]}",
        "GiB per GPU: FSDP, bfloat16",
        "hours, from measured seconds",
        f"hours at {rate} per GPU (assumed)",
    ]
    rows = [columns, ["---"] * len(columns), *(_cells(row) for row in needs.rows)]
    parts = ", ".join(f"{what} {getattr(first.ddp, key) / GIB:.1f}" for key, what in PARTS.items())
    return "\n".join(
        [
            f"- Parameters: {needs.frozen / 1e9:.2f} billion frozen, {needs.trainable / 1e6:.1f} million trained in "
            "stage 1.",
            f"- A trial: {trial.images} images of {trial.patches:,} patches, {trial.tokens:,} tokens ({TURN_TOKENS} a "
            "turn).",
            f"- Forward pass of a trial: {needs.forward.vision / TERA:.0f} TFLOP for images, "
            f"{needs.forward.text / TERA:.0f} for text. With the backward pass: {needs.step(1) / TERA:.0f} TFLOP in "
            f"stage 1, {needs.step(2) / TERA:.0f} in stage 2.",
            f"- {config.stage_one.steps:,} and {config.stage_two.steps:,} steps of {config.batch} trials: "
            f"{needs.total / EXA:.0f} EFLOP.",
            f"- Seconds of a forward and backward pass: {f'measured on {needs.card}' if needs.card else UNKNOWN}.",
            "",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            f"The {first.ddp.total / GIB:.1f} GiB of one GPU consist of: {parts}.",
        ]
    )


def _cells(row: Row) -> list[str]:
    hours = UNKNOWN if row.hours is None else f"{row.hours:.1f}" + ("" if row.gpus == 1 else " (extrapolated)")
    return [
        str(row.gpus),
        f"{row.per_device} × {row.accumulation}",
        f"{row.ddp.total / GIB:.1f}",
        f"{row.fsdp.total / GIB:.1f}" + ("" if row.gpus > 1 else " (not sharded)"),
        hours,
        "" if row.assumed_hours is None else f"{row.assumed_hours:.0f}",
    ]


def to_json(needs: Needs) -> dict[str, Any]:
    """Return the estimate as JSON values."""
    return {
        "flops": {"sight": needs.forward.vision, "text": needs.forward.text, "total": needs.total},
        "parameters": {"frozen": needs.frozen, "learnt": needs.trainable},
        "card": needs.card or None,
        "rows": [
            {
                "gpus": row.gpus,
                "per_device": row.per_device,
                "accumulation": row.accumulation,
                "gib_ddp": round(row.ddp.total / GIB, 2),
                "gib_fsdp": round(row.fsdp.total / GIB, 2),
                "hours": row.hours and round(row.hours, 2),
                "hours_at_assumed_rate": row.assumed_hours and round(row.assumed_hours, 2),
            }
            for row in needs.rows
        ],
    }
