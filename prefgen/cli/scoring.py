"""Scores images for one or more users: one row for every image and user."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import PrefGenError
from .errors import CommandError
from .histories import User
from .image_sources import Candidate, ImageSource, decode, decode_batches
from .processes import Processes
from .resumable_output import FinishedItem, OutputSummary, ResumableOutput

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel
    from ..prefdisc.model import PrefDisc
    from ..prefdisc.prefix import HistoryPrefix
    from ..taste.scorer import EncodedTaste, TasteScorer

    Scorer = PrefDisc | TasteScorer
    EncodedHistory = HistoryPrefix | EncodedTaste

COLUMNS = {
    "image": "string",
    "id": "string",
    "user": "string",
    "prompt": "string",
    "score": "double",
    "error": "string",
}


@dataclass(frozen=True)
class ScoreConfig:
    """Settings of a scoring run. The defaults are ours.

    Attributes:
        batch: Images in a forward pass. An interrupted run repeats at most one batch.
        workers: Threads that decode images.
        settings: Further settings that must stay the same when a run is resumed.
    """

    batch: int = 32
    workers: int = 4
    settings: tuple[tuple[str, Any], ...] = ()


def score_images(
    model: PreferenceModel,
    users: Sequence[User],
    source: ImageSource,
    out: Path,
    processes: Processes,
    config: ScoreConfig = ScoreConfig(),
) -> OutputSummary | None:
    """Score every image for every user, or resume an interrupted run.

    Each process encodes every history once. Images that cannot be read have rows with an `error` and no score.

    Returns:
        The summary in the main process, None in the others.

    Raises:
        CommandError: See `ResumableOutput`; or a history cannot be read, which every image needs.
    """
    from tqdm import tqdm

    scorer = model.scorer
    with torch.no_grad():
        encoded = {user.name: _encode_history(scorer, user) for user in users}
    digests = {name: digest for name, (digest, _) in encoded.items()}
    prefixes = [(name, prefix) for name, (_, prefix) in encoded.items()]
    settings = {"work": "score", "checkpoint": model.fingerprint, "users": digests, **dict(config.settings)}
    output = ResumableOutput(out, COLUMNS, settings)
    if processes.is_main:
        output.begin()
    processes.wait()
    finished = output.finished_items(processes.is_main, source.stamp if processes.is_main else None)
    processes.wait()  # all processes must see the same finished items before anybody writes
    batches = processes.shard(_unfinished_batches(source.names, finished, config.batch))
    with torch.no_grad(), output.open_writer(processes.rank) as writer:
        decoder = partial(decode, spec=scorer.spec)
        bar = tqdm(total=sum(map(len, batches)), desc="scoring", unit="image", disable=not processes.is_main)
        failed = 0
        with bar:
            for batch in decode_batches(source, batches, decoder, config.workers):
                items = list(_score_batch(scorer, prefixes, batch))
                writer.add(items)
                failed += sum(any(row["error"] for row in item.rows) for item in items)
                bar.set_postfix(failed=failed, refresh=False)
                bar.update(len(batch))
    processes.wait()
    return output.finish(source.names) if processes.is_main else None


def _encode_history(scorer: Scorer, user: User) -> tuple[str, EncodedHistory]:
    """Return a history's digest and its encoded prefix, without the images, which may be too many to keep."""
    try:
        history = user.read()
        # The prefixes of many users do not fit on an accelerator.
        return scorer.digest(history), scorer.encode(history).to("cpu")
    except PrefGenError as error:
        problem = f"The history of {user.name!r} cannot be read, and every image needs it"
        raise CommandError(f"{problem}: {error} Correct it, or leave this user out.") from error


def _unfinished_batches(names: Sequence[str], finished: set[str], size: int) -> list[list[int]]:
    """Return the indices of unfinished images in batches whose limits, and so whose scores, do not depend on them."""
    batches = (
        [i for i in range(start, min(start + size, len(names))) if names[i] not in finished]
        for start in range(0, len(names), size)
    )
    return [batch for batch in batches if batch]


def _score_batch(
    scorer: Scorer, prefixes: Sequence[tuple[str, EncodedHistory]], batch: Sequence[Candidate]
) -> Iterator[FinishedItem]:
    scores = {name: _score_candidates(scorer, prefix, batch) for name, prefix in prefixes}
    for index, candidate in enumerate(batch):
        rows = [_row(candidate, user, user_scores.get(index)) for user, user_scores in scores.items()]
        yield FinishedItem(candidate.name, rows, candidate.stamp)


def _row(candidate: Candidate, user: str, score: float | None) -> dict[str, Any]:
    error = candidate.error
    if score is not None and not math.isfinite(score):
        score, error = None, f"the score is {score}; try another --precision, and inspect the checkpoint"
    identity = {"image": candidate.name, "id": candidate.id, "user": user, "prompt": candidate.prompt}
    return {**identity, "score": score, "error": error}


def _score_candidates(scorer: Scorer, prefix: EncodedHistory, batch: Sequence[Candidate]) -> dict[int, float]:
    """Return the score of every decoded candidate by its index. Images of one size form one batch."""
    indices_by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, candidate in enumerate(batch):
        if candidate.image is not None:
            indices_by_size[tuple(candidate.image.shape)].append(index)
    prefix = prefix.to(scorer.device)
    score_by_index: dict[int, float] = {}
    for indices in indices_by_size.values():
        images: Tensor = torch.stack([batch[index].image for index in indices])
        scores = scorer.score(prefix, images, [batch[index].prompt for index in indices])
        score_by_index |= zip(indices, scores.float().tolist(), strict=True)
    return score_by_index
