"""The training itself: a table of users and a configuration in, an alignment and its figures out."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from prefgen.alignment import Alignment, AlignmentConfig
from train.align.collapse import CollapseWatch
from train.align.config import AlignConfig
from train.align.crowds import draw_crowd
from train.align.measure import apartness, retrieval
from train.align.objectives import objective
from train.align.table import UserTable
from train.loop import fit, generator_of


def align(table: UserTable, config: AlignConfig, folder: Path) -> tuple[Alignment, dict]:
    """Train, resuming from `folder` where a state lies there.

    Returns the alignment, on the CPU, and its figures on the held-out users (see measure.py), with the step at which a
    collapse was found (None: there was none). Raises AlignmentCollapse where the configuration says to stop there.
    """
    torch.manual_seed(config.seed)
    table = table.to(Accelerator().device)
    vectors, texts = getattr(table, config.part), table.texts
    # In units of the texts' own spread; MMD itself does not care, but the weights' start and decay do.
    middle, unit = texts.mean(0), texts.std(0).mean()
    held = max(4, int(len(table) * config.held))
    scaled, loss = (texts - middle) / unit, objective(config)
    watch = CollapseWatch(config.collapse, vectors[:held], texts[:held])

    def loss_of(model: Alignment, step: int) -> dict[str, Tensor]:
        watch.look(model, step)
        generator = generator_of(config.seed, step)
        crowds = [
            draw_crowd(table.likes[held:], scaled[held:], config.batch, generator) + held for _ in range(config.crowds)
        ]
        mapped = (model(vectors[torch.cat(crowds)]) - middle) / unit
        return {"loss": loss(mapped.split([len(crowd) for crowd in crowds]), [scaled[crowd] for crowd in crowds])}

    shapes = AlignmentConfig(vectors.shape[1], texts.shape[1], config.hidden_dim, config.layers)
    alignment = fit(Alignment(shapes), loss_of, config.loop, folder)
    with torch.no_grad():
        mapped = alignment.to(vectors.device)(vectors[:held])
    found = {**retrieval(mapped, texts[:held]), **apartness(mapped, texts[:held]), "collapsed_at": watch.found}
    return alignment.cpu(), found
