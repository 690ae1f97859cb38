"""Scoring images for one person or several: a row for every image and person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .images import Candidate, Source, decode, decoded
from .ledger import Done, Ledger, Tally
from .people import Person
from .processes import Processes

if TYPE_CHECKING:
    from ..prefdisc.model import PrefDisc
    from ..prefdisc.prefix import HistoryPrefix
    from ..preference import PreferenceModel

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
    Raises OfflineError as the ledger does, and what reading a history raises.
    """
    from tqdm import tqdm

    prefdisc = model.require("prefdisc")
    histories = [(person.name, person.read()) for person in people]
    digests = {name: history.digest for name, history in histories}
    about = {"work": "score", "checkpoint": model.fingerprint, "people": digests, **dict(config.about)}
    ledger = Ledger(out, COLUMNS, about)
    if processes.is_main:
        ledger.begin()
    processes.wait()
    done = ledger.done(shown=processes.is_main)
    processes.wait()  # nobody writes before everybody has read, so that all share out the same rest
    mine = processes.share(_rest(source.names, done, config.batch))
    with torch.no_grad(), ledger.writing(processes.rank) as writer:
        # Kept off the accelerator, where many people's would not fit.
        prefixes = [(name, prefdisc.encode(history).to("cpu")) for name, history in histories] if mine else []
        batches = decoded(source, mine, partial(decode, spec=prefdisc.spec), config.workers)
        bar = tqdm(total=sum(map(len, mine)), desc="scoring", unit="image", disable=not processes.is_main)
        failed = 0
        with bar:
            for batch in batches:
                writer.add(_rows(prefdisc, prefixes, batch))
                failed += sum(candidate.image is None for candidate in batch)
                bar.set_postfix(unreadable=failed, refresh=False)
                bar.update(len(batch))
    processes.wait()
    return ledger.finish(source.names) if processes.is_main else None


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
    for place, candidate in enumerate(batch):
        said = {"image": candidate.name, "id": candidate.id, "prompt": candidate.prompt, "error": candidate.error}
        yield candidate.name, [{**said, "user": name, "score": own.get(place)} for name, own in scores.items()]


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
