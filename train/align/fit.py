"""Trains the alignment on a table of users and evaluates it on held-out users."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from prefgen.alignment import Alignment, AlignmentConfig
from train.align.collapse import CollapseDetector
from train.align.config import AlignConfig
from train.align.metrics import dispersion, retrieval
from train.align.objectives import build_objective
from train.align.similar_users import sample_similar_users
from train.align.user_table import UserTable
from train.loop import fit, generator_of


def train_alignment(table: UserTable, config: AlignConfig, folder: Path) -> tuple[Alignment, dict]:
    """Train the alignment, or resume from the state in `folder`.

    Returns:
        The alignment on the CPU, and the metrics on held-out users (see metrics.py). "collapsed_at" is the step at
        which a collapse was detected, or None.

    Raises:
        AlignmentCollapse: The alignment has collapsed, and `config.collapse.stop` is set.
    """
    torch.manual_seed(config.seed)
    table = table.to(Accelerator().device)
    vectors, texts = getattr(table, config.part), table.texts
    # Divide by the spread of the texts. MMD does not depend on the scale, but initialisation and weight decay do.
    mean, scale = texts.mean(0), texts.std(0).mean()
    held = max(4, int(len(table) * config.validation_share))
    scaled, loss = (texts - mean) / scale, build_objective(config)
    detector = CollapseDetector(config.collapse, vectors[:held], texts[:held])

    def loss_of(model: Alignment, step: int) -> dict[str, Tensor]:
        detector.check(model, step)
        generator = generator_of(config.seed, step)
        groups = [
            sample_similar_users(table.likes[held:], scaled[held:], config.batch, generator) + held
            for _ in range(config.groups)
        ]
        mapped = (model(vectors[torch.cat(groups)]) - mean) / scale
        return {"loss": loss(mapped.split([len(group) for group in groups]), [scaled[group] for group in groups])}

    shapes = AlignmentConfig(vectors.shape[1], texts.shape[1], config.hidden_dim, config.layers)
    alignment = fit(Alignment(shapes), loss_of, config.loop, folder)
    with torch.no_grad():
        mapped = alignment.to(vectors.device)(vectors[:held])
    metrics = {**retrieval(mapped, texts[:held]), **dispersion(mapped, texts[:held])}
    return alignment.cpu(), {**metrics, "collapsed_at": detector.collapse_step}
