"""Scoring images for one person or several: a row for every image and person."""

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
from .errors import OfflineError
from .images import Candidate, Source, decode, decoded
from .ledger import Done, Ledger, Tally
from .people import Person
from .processes import Processes

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel
    from ..prefdisc.model import PrefDisc
    from ..prefdisc.prefix import HistoryPrefix

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
    """batch: images in one forward, which a killed run has to do again. workers: threads that decode images. about:
    further settings, which must be the same where a run goes on. Defaults ours."""

    batch: int = 32
    workers: int = 4
    about: tuple[tuple[str, Any], ...] = ()


def score_images(
    model: PreferenceModel,
    people: Sequence[Person],
    source: Source,
    out: Path,
    processes: Processes,
    config: ScoreConfig = ScoreConfig(),
) -> Tally | None:
    """Score every image for every person into `out`, or go on where a killed run left it; None in all processes but the
    main one.

    Every history is encoded once in each process. Images that cannot be read have rows with an `error` and no score.
    Raises OfflineError as the ledger does, and for a history that cannot be read, which every image needs.
    """
    from tqdm import tqdm

    prefdisc = model.require("prefdisc")
    with torch.no_grad():
        read = {person.name: _read(prefdisc, person) for person in people}
    digests = {name: digest for name, (digest, _) in read.items()}
    prefixes = [(name, prefix) for name, (_, prefix) in read.items()]
    about = {"work": "score", "checkpoint": model.fingerprint, "people": digests, **dict(config.about)}
    ledger = Ledger(out, COLUMNS, about)
    if processes.is_main:
        ledger.begin()
    processes.wait()
    done = ledger.done(shown=processes.is_main, mark=source.mark if processes.is_main else None)
    processes.wait()  # nobody writes before everybody has read, so that all share out the same rest
    mine = processes.share(_rest(source.names, done, config.batch))
    with torch.no_grad(), ledger.writing(processes.rank) as writer:
        batches = decoded(source, mine, partial(decode, spec=prefdisc.spec), config.workers)
        bar = tqdm(total=sum(map(len, mine)), desc="scoring", unit="image", disable=not processes.is_main)
        failed = 0
        with bar:
            for batch in batches:
                rows = list(_rows(prefdisc, prefixes, batch))
                writer.add(rows)
                failed += sum(any(row["error"] for row in one.rows) for one in rows)
                bar.set_postfix(failed=failed, refresh=False)
                bar.update(len(batch))
    processes.wait()
    return ledger.finish(source.names) if processes.is_main else None


def _read(prefdisc: PrefDisc, person: Person) -> tuple[str, HistoryPrefix]:
    """A history's digest, and what is kept of it; its images are not, of which many people have too many."""
    try:
        history = person.read()
        # Off the accelerator, where many people's would not fit.
        return history.digest, prefdisc.encode(history).to("cpu")
    except PrefGenError as error:
        raise OfflineError(
            f"The history of {person.name!r} cannot be read, and every image would be scored for it: {error} Or leave "
            "this person out."
        ) from error


def _rest(names: Sequence[str], done: set[str], size: int) -> list[list[int]]:
    """Places that are not done, in batches that are the same whatever is done: numbers then are, too."""
    batches = (
        [i for i in range(at, min(at + size, len(names))) if names[i] not in done] for at in range(0, len(names), size)
    )
    return [batch for batch in batches if batch]


def _rows(
    prefdisc: PrefDisc, prefixes: Sequence[tuple[str, HistoryPrefix]], batch: Sequence[Candidate]
) -> Iterator[Done]:
    scores = {name: _scores(prefdisc, prefix, batch) for name, prefix in prefixes}
    for place, one in enumerate(batch):
        rows = [_row(one, name, own.get(place)) for name, own in scores.items()]
        yield Done(one.name, rows, one.mark)


def _row(candidate: Candidate, user: str, score: float | None) -> dict[str, Any]:
    error = candidate.error
    if score is not None and not math.isfinite(score):
        score, error = None, f"the score is {score}, no number: try another --precision, and inspect the checkpoint"
    said = {"image": candidate.name, "id": candidate.id, "user": user, "prompt": candidate.prompt}
    return {**said, "score": score, "error": error}


def _scores(prefdisc: PrefDisc, prefix: HistoryPrefix, batch: Sequence[Candidate]) -> dict[int, float]:
    """Q of every candidate that could be read, by its place; images of one size go together."""
    sizes: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, candidate in enumerate(batch):
        if candidate.image is not None:
            sizes[tuple(candidate.image.shape)].append(place)
    prefix = prefix.to(prefdisc.device)
    found: dict[int, float] = {}
    for places in sizes.values():
        images: Tensor = torch.stack([batch[place].image for place in places])
        scores = prefdisc.score(prefix, images, [batch[place].prompt for place in places])
        found |= zip(places, scores.float().tolist(), strict=True)
    return found
