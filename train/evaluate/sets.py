"""Measures pairwise accuracy on users of a dataset on disk.

    python -m train.evaluate.sets --data DIR --checkpoint FILE

Paper index section 2 (001 table 1, 003 table 2), for real (`train.data.pickapic`) or rendered users. The pairs of
each test user are split at random into a history and targets, and scored with the public API of prefgen.
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
from train.evaluate import plotting
from train.evaluate.accuracy import correct_choices
from train.evaluate.choice_trials import PAIRS, RNG_STREAM
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.statistics import Estimate, mean_over_users, paired_difference, unpaired_difference
from train.prefdisc.dataset import PairFiles, UserPairs, read_users

USERS, TARGETS = 1000, 8
"""Maximum number of users, and of target pairs of each user and seed."""
METHODS = {
    "unseen": ("PrefDisc, unseen users", plotting.OURS),
    "seen": ("PrefDisc, seen users", plotting.OURS),
    "no_history": ("PrefDisc, no history", plotting.CONTROL),
    "wrong_history": ("PrefDisc, another user's history", plotting.CONTROL),
}


def split_pairs(user: UserPairs, pairs: int, rng: np.random.Generator) -> tuple[list[PairFiles], list[PairFiles]]:
    """Split a user's pairs at random into a history of at most `pairs` and at most TARGETS targets.

    Targets share no image with the history: in Pick-a-Pic, the winning image often takes part in the next comparison.
    There may be no target left.
    """
    shuffled = [user.pairs[i] for i in rng.permutation(len(user.pairs))]
    length = min(pairs, len(shuffled) - 1)
    history, used_files = shuffled[:length], {file for pair in shuffled[:length] for file in pair.images}
    return history, [pair for pair in shuffled[length:] if used_files.isdisjoint(pair.images)][:TARGETS]


@torch.no_grad()
def scores(prefdisc: PrefDisc, prefix: HistoryPrefix | None, targets: Sequence[PairFiles]) -> np.ndarray:
    """Score both images of each target after a history: (targets, 2), the liked image first."""
    return np.array(
        [
            [float(prefdisc.score(prefix, read_image(file)[None], pair.prompt)) for file in pair.images]
            for pair in targets
        ]
    )


def encode(prefdisc: PrefDisc, pairs: Sequence[PairFiles], name: str) -> HistoryPrefix:
    """Encode a history from image files."""
    loaded = tuple(PreferencePair(read_image(pair.liked), read_image(pair.disliked), pair.prompt) for pair in pairs)
    return prefdisc.encode(UserHistory(loaded, name))


def user_accuracies(
    prefdisc: PrefDisc, users: Sequence[UserPairs], pairs: int, seeds: Sequence[int]
) -> dict[str, np.ndarray]:
    """Compute each user's accuracy over the splits of all seeds, with three histories.

    Returns:
        Accuracies (users,) for "own", "no_history" and "wrong_history" (the previous user's history). NaN for users
        without targets in any split.
    """
    accuracies = {name: np.full((len(users), len(seeds)), np.nan) for name in ("own", "no_history", "wrong_history")}
    for column, seed in enumerate(seeds):
        rng = np.random.default_rng([RNG_STREAM, 4, seed])
        split = [split_pairs(user, pairs, rng) for user in users]
        previous = encode(prefdisc, split[-1][0], users[-1].user)
        for row, (user, (history, targets)) in enumerate(zip(users, tqdm(split, f"seed {seed}"), strict=True)):
            if not targets:
                continue
            own = encode(prefdisc, history, user.user)
            for name, prefix in (("own", own), ("no_history", None), ("wrong_history", previous)):
                accuracies[name][row, column] = correct_choices(
                    scores(prefdisc, prefix, targets), np.zeros(len(targets), int)
                ).mean()
            previous = own
    measured = ~np.isnan(accuracies["own"])
    return {
        name: np.where(measured, v, 0).sum(1) / np.where(measured.any(1), measured.sum(1), np.nan)
        for name, v in accuracies.items()
    }


def measure(options: Options) -> Report:
    """Measure seen and unseen users; the dataset marks which are which."""
    arguments = options.arguments
    users = read_users(arguments.data, arguments.split)
    rng = np.random.default_rng([RNG_STREAM, 4])
    users = [users[i] for i in rng.permutation(len(users))[: options.users]]
    accuracies = user_accuracies(options.model().prefdisc, users, arguments.pairs, options.seeds)
    measured = ~np.isnan(accuracies["own"])
    accuracies = {name: values[measured] for name, values in accuracies.items()}
    seen = np.array([user.seen for user in users])[measured]
    kinds = {"unseen": accuracies["own"][~seen], "seen": accuracies["own"][seen]}
    kinds |= {name: accuracies[name] for name in ("no_history", "wrong_history")}
    accuracy = {name: mean_over_users(values) for name, values in kinds.items() if len(values) > 1}
    gain, wrong = (
        paired_difference(accuracies["own"], accuracies["no_history"]),
        paired_difference(accuracies["wrong_history"], accuracies["no_history"]),
    )
    result = {
        **{f"accuracy_{name}": estimate.to_json() for name, estimate in accuracy.items()},
        "own_minus_no_history": gain.to_json(),
        "wrong_minus_no_history": wrong.to_json(),
        "users": len(seen),
        "left_out": int((~measured).sum()),
        "pairs": arguments.pairs,
        "split": arguments.split,
        "checkpoint": options.checkpoint,
    }
    notes = [
        f"Gain from the user's own history: {gain.text(sign=True)}, paired; from another user's: "
        f"{wrong.text(sign=True)}."
    ]
    if {"seen", "unseen"} <= set(accuracy):
        gap = unpaired_difference(kinds["seen"], kinds["unseen"])
        result["seen_minus_unseen"] = gap.to_json()
        notes.append(f"Seen minus unseen users: {gap.text(sign=True)}.")
    rows = [(METHODS[name][0], str(estimate.units), estimate.text()) for name, estimate in accuracy.items()]
    description = (
        f"Pairwise accuracy on {len(seen):,} users of the split `{arguments.split}` of `{Path(arguments.data).name}` "
        f"({(~measured).sum():,} others have no target without an image of their history). A history of up to "
        f"{arguments.pairs} pairs and up to {TARGETS} targets are drawn at random for {options.seeds_text}. "
        f"{CLUSTERED_NOTE}"
    )
    title = "Pairwise accuracy on a dataset"
    return Report(title, description, ("method", "users", "accuracy"), rows, result, plot(accuracy), notes)


def plot(accuracy: dict[str, Estimate]) -> Figure:
    """Plot bars from chance level."""
    figure, axes = plotting.new_figure(7.5, 1.2 + 0.5 * len(accuracy))
    names, colours = zip(*(METHODS[name] for name in accuracy), strict=True)
    plotting.bar_chart(axes, names, list(accuracy.values()), colours)
    plotting.set_heading(
        figure, "Pairwise accuracy on the users of a dataset", "From chance (0.5), with 95 % intervals."
    )
    return figure


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder with users.jsonl and images (see train.data)")
    parser.add_argument("--split", default="test", help="split of the dataset")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="maximum number of pairs in a history")


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("sets", measure, USERS, argv, _options, __doc__)


if __name__ == "__main__":
    main()
