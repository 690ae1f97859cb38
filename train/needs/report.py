"""What was counted, for people and as JSON."""

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
TURN = 104
"""Tokens of a turn: 66 of its image, the rest words: Idefics2's template and a prompt of some twenty tokens."""
UNKNOWN = "not measured"
WEIGHTS = {"none": "bfloat16", "nf4": "4 bits"}
"""What the base's weights are in, by `base.quantize`."""
PARTS = {
    "frozen": "frozen weights",
    "learnt": "the LoRA, its gradient and AdamW's moments",
    "kept": "activations kept at the layers' borders",
    "layer": "one layer's own activations",
}


@dataclass(frozen=True)
class Row:
    """One number of GPUs.

    whole, sharded: a GPU's memory under DDP and under FSDP. hours: of both stages, from measured seconds; None without.
    assumed: hours at the rate that was given; None without.
    """

    gpus: int
    per_device: int
    accumulation: int
    whole: Memory
    sharded: Memory
    hours: float | None
    assumed: float | None


@dataclass(frozen=True)
class Needs:
    """A training's needs. frozen, learnt: parameters. card: on which hours were measured; "" where they were not.
    reached: TFLOP/s that a GPU is assumed to reach, if any."""

    config: RunConfig
    trial: Trial
    forward: Forward
    frozen: int
    learnt: int
    rows: tuple[Row, ...]
    card: str = ""
    reached: float | None = None

    def step(self, stage: int) -> float:
        """FLOPs of one trial's step."""
        return self.forward.of_stage(stage, self.config.checkpointing)

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
    """Count. seconds: measured, of one forward and backward pass of per_device pairs on `card`, in either stage."""
    base = build_meta_model(IDEFICS2_8B, config)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in config.spec.items()}
    spec = PrefDiscSpec(base=config.base.id, revision="", **values)
    trial = trial_size(spec, config.data.history, TURN, IDEFICS2_8B["vision_config"]["patch_size"])
    forward = count_forward_flops(base, trial)
    rows = []
    for count in gpus:
        each = min(config.per_device, max(1, config.batch // count))
        forwards = config.batch // (each * count)
        # Fewer pairs than were measured are taken to need as many seconds less.
        share = forwards * each / config.per_device / 3600
        stages = (config.stage_one, config.stage_two)
        rows.append(
            Row(
                count,
                each,
                forwards,
                estimate_memory(base, trial, each, config.base.quantize != "none"),
                estimate_memory(base, trial, each, False, count),
                seconds and sum(stage.steps * share * taken for stage, taken in zip(stages, seconds, strict=True)),
                reached and total_flops(config, forward) / (reached * TERA * count) / 3600,
            )
        )
    counts = [sum(p.numel() for p in base.parameters() if p.requires_grad is learns) for learns in (False, True)]
    return Needs(config, trial, forward, *counts, tuple(rows), card, reached)


def total_flops(config: RunConfig, forward: Forward) -> float:
    """FLOPs of both stages."""
    stages = ((1, config.stage_one.steps), (2, config.stage_two.steps))
    return sum(steps * config.batch * forward.of_stage(stage, config.checkpointing) for stage, steps in stages)


def markdown(found: Needs) -> str:
    """The section of the page."""
    config, trial, one = found.config, found.trial, found.rows[0]
    rate = f"{found.reached:g} TFLOP/s" if found.reached else "a given rate"
    columns = [
        "GPUs",
        "pairs a forward × forwards a step",
        f"GiB a GPU: DDP, {WEIGHTS[config.base.quantize]}",
        "GiB a GPU: FSDP, bfloat16",
        "hours, from measured seconds",
        f"hours if each reached {rate} (assumed)",
    ]
    rows = [columns, ["---"] * len(columns), *(_cells(row) for row in found.rows)]
    parts = ", ".join(f"{what} {getattr(one.whole, key) / GIB:.1f}" for key, what in PARTS.items())
    return "\n".join(
        [
            f"- {found.frozen / 1e9:.2f} billion frozen parameters; {found.learnt / 1e6:.1f} million learn in stage 1.",
            f"- A trial: {trial.images} images of {trial.patches:,} patches, {trial.tokens:,} tokens ({TURN} a turn).",
            f"- Forward: {found.forward.sight / TERA:.0f} TFLOP to see, {found.forward.text / TERA:.0f} to read. "
            f"A whole step of it: {found.step(1) / TERA:.0f} TFLOP in stage 1, {found.step(2) / TERA:.0f} in stage 2.",
            f"- {config.stage_one.steps:,} and {config.stage_two.steps:,} steps of {config.batch} trials: "
            f"{found.total / EXA:.0f} EFLOP.",
            f"- Seconds of a forward and backward pass: {f'measured on {found.card}' if found.card else UNKNOWN}.",
            "",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            f"Of the {one.whole.total / GIB:.1f} GiB of one GPU: {parts}.",
        ]
    )


def _cells(row: Row) -> list[str]:
    hours = UNKNOWN if row.hours is None else f"{row.hours:.1f}" + ("" if row.gpus == 1 else " (extrapolated)")
    return [
        str(row.gpus),
        f"{row.per_device} × {row.accumulation}",
        f"{row.whole.total / GIB:.1f}",
        f"{row.sharded.total / GIB:.1f}" + ("" if row.gpus > 1 else " (whole)"),
        hours,
        "" if row.assumed is None else f"{row.assumed:.0f}",
    ]


def to_json(found: Needs) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "flops": {"sight": found.forward.sight, "text": found.forward.text, "total": found.total},
        "parameters": {"frozen": found.frozen, "learnt": found.learnt},
        "card": found.card or None,
        "rows": [
            {
                "gpus": row.gpus,
                "per_device": row.per_device,
                "accumulation": row.accumulation,
                "gib_ddp": round(row.whole.total / GIB, 2),
                "gib_fsdp": round(row.sharded.total / GIB, 2),
                "hours": row.hours and round(row.hours, 2),
                "hours_at_assumed_rate": row.assumed and round(row.assumed, 2),
            }
            for row in found.rows
        ],
    }
