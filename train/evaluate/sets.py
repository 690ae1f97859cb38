"""`python -m train.evaluate.sets --data DIR --checkpoint FILE`: pairwise accuracy on users of a set on disk.

method.md section 2 (001 table 1, 003 table 2), for real users (`train.data.pickapic`) or rendered agents: the pairs of
every test user are split at random into a history and targets, and scored through the library's own door.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from prefgen.history import PreferencePair, UserHistory
from prefgen.images import read_image
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.prefix import HistoryPrefix
from train.evaluate import style
from train.evaluate.command import CLUSTERED, Options, Report, command
from train.evaluate.ranking import right
from train.evaluate.statistics import Estimate, over_users, paired, unpaired
from train.evaluate.trials import PAIRS, STREAM
from train.prefdisc.dataset import PairFiles, UserPairs, read_users

USERS, TARGETS = 1000, 8
"""At most so many users of the set; target pairs of each in a seed."""
METHODS = {
    "unseen": ("PrefDisc, unseen users", style.OURS),
    "seen": ("PrefDisc, seen users", style.OURS),
    "no_history": ("PrefDisc, no history", style.CONTROL),
    "wrong_history": ("PrefDisc, another's history", style.CONTROL),
}


def split_pairs(user: UserPairs, pairs: int, rng: np.random.Generator) -> tuple[list[PairFiles], list[PairFiles]]:
    """A history of at most `pairs`, and at most TARGETS targets that share no image with it: in Pick-a-Pic the image
    that won often stays for the next choice, and would be known already. There may be none."""
    mixed = [user.pairs[i] for i in rng.permutation(len(user.pairs))]
    length = min(pairs, len(mixed) - 1)
    history, known = mixed[:length], {file for pair in mixed[:length] for file in pair.images}
    return history, [pair for pair in mixed[length:] if known.isdisjoint(pair.images)][:TARGETS]


@torch.no_grad()
def scores(prefdisc: PrefDisc, prefix: HistoryPrefix | None, targets: Sequence[PairFiles]) -> np.ndarray:
    """Q of the two images of each target after a history: (targets, 2), liked first."""
    return np.array(
        [
            [float(prefdisc.score(prefix, read_image(file)[None], pair.prompt)) for file in pair.images]
            for pair in targets
        ]
    )


def encode(prefdisc: PrefDisc, pairs: Sequence[PairFiles], name: str) -> HistoryPrefix:
    """The prefix of a history on disk."""
    read = tuple(PreferencePair(read_image(pair.liked), read_image(pair.disliked), pair.prompt) for pair in pairs)
    return prefdisc.encode(UserHistory(read, name))


def answers(prefdisc: PrefDisc, users: Sequence[UserPairs], pairs: int, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Each user's share of right answers, over the seeds' splits: "own", "no_history", "wrong_history" -> (users,);
    NaN for users who had no targets in any."""
    found = {name: np.full((len(users), len(seeds)), np.nan) for name in ("own", "no_history", "wrong_history")}
    for column, seed in enumerate(seeds):
        rng = np.random.default_rng([STREAM, 4, seed])
        split = [split_pairs(user, pairs, rng) for user in users]
        before = encode(prefdisc, split[-1][0], users[-1].user)
        for row, (user, (history, targets)) in enumerate(zip(users, tqdm(split, f"seed {seed}"), strict=True)):
            if not targets:
                continue
            own = encode(prefdisc, history, user.user)
            for name, prefix in (("own", own), ("no_history", None), ("wrong_history", before)):
                found[name][row, column] = right(scores(prefdisc, prefix, targets), np.zeros(len(targets), int)).mean()
            before = own
    asked = ~np.isnan(found["own"])
    return {
        name: np.where(asked, v, 0).sum(1) / np.where(asked.any(1), asked.sum(1), np.nan) for name, v in found.items()
    }


def measure(options: Options) -> Report:
    """Seen and unseen users are told apart by the set's own flag."""
    given = options.given
    users = read_users(given.data, given.split)
    rng = np.random.default_rng([STREAM, 4])
    users = [users[i] for i in rng.permutation(len(users))[: options.users]]
    got = answers(options.model().prefdisc, users, given.pairs, options.seeds)
    asked = ~np.isnan(got["own"])
    got = {name: values[asked] for name, values in got.items()}
    seen = np.array([user.seen for user in users])[asked]
    kinds = {"unseen": got["own"][~seen], "seen": got["own"][seen]}
    kinds |= {name: got[name] for name in ("no_history", "wrong_history")}
    accuracy = {name: over_users(values) for name, values in kinds.items() if len(values) > 1}
    gain, wrong = paired(got["own"], got["no_history"]), paired(got["wrong_history"], got["no_history"])
    result = {
        **{f"accuracy_{name}": estimate.to_json() for name, estimate in accuracy.items()},
        "own_minus_no_history": gain.to_json(),
        "wrong_minus_no_history": wrong.to_json(),
        "users": len(seen),
        "left_out": int((~asked).sum()),
        "pairs": given.pairs,
        "split": given.split,
        "checkpoint": options.checkpoint,
    }
    notes = [f"The user's own history adds {gain.text(sign=True)}, paired; another's {wrong.text(sign=True)}."]
    if {"seen", "unseen"} <= set(accuracy):
        gap = unpaired(kinds["seen"], kinds["unseen"])
        result["seen_minus_unseen"] = gap.to_json()
        notes.append(f"Seen less unseen users: {gap.text(sign=True)}.")
    rows = [(METHODS[name][0], str(estimate.units), estimate.text()) for name, estimate in accuracy.items()]
    measured = (
        f"Pairwise accuracy on {len(seen):,} users of split `{given.split}` of `{Path(given.data).name}` "
        f"({(~asked).sum():,} others have no target whose images are not in the history): a history of up to "
        f"{given.pairs} pairs and up to {TARGETS} targets, split at random for {options.told_seeds}. {CLUSTERED}"
    )
    title = "Pairwise accuracy on a set"
    return Report(title, measured, ("method", "users", "accuracy"), rows, result, draw(accuracy), notes)


def draw(accuracy: dict[str, Estimate]) -> Figure:
    """Bars from chance."""
    drawn, axes = style.figure(7.5, 1.2 + 0.5 * len(accuracy))
    names, colours = zip(*(METHODS[name] for name in accuracy), strict=True)
    style.bars(axes, names, list(accuracy.values()), colours)
    style.heading(drawn, "Pairwise accuracy on the users of a set", "From chance (0.5), with 95 % intervals.")
    return drawn


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="a folder with users.jsonl and images (see train.data)")
    parser.add_argument("--split", default="test", help="whose users are asked")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs in a history, at most")


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("sets", measure, USERS, argv, _options, __doc__)


if __name__ == "__main__":
    main()
