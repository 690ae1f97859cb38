"""`python -m train.evaluate.similar`: find users of like taste by their `sem` embeddings.

The papers show such users (001 section 3.2); here their true tastes tell whether they are alike.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.data.agents import World
from train.evaluate import style
from train.evaluate.command import Options, Report, command
from train.evaluate.draws import draws
from train.evaluate.judging import Seen, sem_of
from train.evaluate.statistics import over_seeds
from train.evaluate.trials import PAIRS, Gallery, draw_trials, features_of
from train.pocket.prefdisc.users import centred

USERS, NEAREST = 1500, 5
SHOWN_USERS, SHOWN_LIKED = 4, 6


def find_similar_users(
    embeddings: np.ndarray, query: np.ndarray, k: int = NEAREST, leave_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k users whose embeddings are most like the query's.

    Embeddings share a large common part, which says nothing of anyone: their mean is taken off before the cosine.

    Args:
        embeddings: (n, D), a user a row. query: (q, D). leave_out: (q,) a row for each query not to be found (itself).
    Returns:
        rows (q, k), the most alike first, and their cosines (q, k). Raises ValueError where fewer than k are left.
    """
    embeddings, query = np.atleast_2d(embeddings), np.atleast_2d(query)
    left = len(embeddings) - (leave_out is not None)
    if not 1 <= k <= left:
        raise ValueError(f"{k} users were asked for, and there are {left} to find: ask for 1 to {left}")
    alike = cosines(query - embeddings.mean(0), embeddings - embeddings.mean(0))
    if leave_out is not None:
        alike[np.arange(len(query)), leave_out] = -np.inf
    rows = np.argsort(-alike, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(alike, rows, axis=1)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of every row of a (n, D) with every row of b (m, D): (n, m)."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    return a @ b.T


def measure(options: Options) -> Report:
    """Every user of a seed looks for others; their true tastes are compared."""
    world, prefdisc = World.load(), options.model().prefdisc
    kept = {name: [] for name in ("found", "anyone", "best", "same group")}
    picture = None
    for draw in draws(world, options.users, options.seeds, options.posters):
        seen = Seen(prefdisc, draw.gallery, features_of(prefdisc, draw.gallery))
        trials = draw_trials(world, draw.gallery, draw.unseen, 1, draw.rng)
        sem = sem_of(seen, trials.history)
        everyone = np.arange(len(sem))
        rows, _ = find_similar_users(sem, sem, NEAREST, leave_out=everyone)
        taste = centred(world, draw.unseen)
        agreement = cosines(taste - taste.mean(0), taste - taste.mean(0))
        np.fill_diagonal(agreement, np.nan)
        kept["found"].append(np.take_along_axis(agreement, rows, axis=1).mean())
        kept["anyone"].append(np.nanmean(agreement))
        kept["best"].append(np.sort(np.nan_to_num(agreement, nan=-1))[:, -NEAREST:].mean())
        kept["same group"].append((draw.groups[rows] == draw.groups[:, None]).mean())
        picture = picture or draw_users(draw.gallery, trials.history, rows, agreement, sem)
    found = {name: over_seeds(values) for name, values in kept.items()}
    gain, group = over_seeds(np.subtract(kept["found"], kept["anyone"])), found.pop("same group")
    result = {
        **{f"taste_agreement_{name}": estimate.to_json() for name, estimate in found.items()},
        "found_minus_anyone": gain.to_json(),
        "of_the_same_group": group.to_json(),
        "nearest": NEAREST,
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    labels = {
        "best": f"the {NEAREST} whose true tastes are nearest",
        "found": f"the {NEAREST} found by `sem`",
        "anyone": "anyone else",
    }
    measured = (
        f"Each of {options.users:,} unseen users with {PAIRS} pairs, over {options.told_seeds}, looks among its seed's "
        f"for the {NEAREST} with the nearest `sem` embedding. Agreement is the cosine of the true tastes, less the "
        "population's mean. ± is half a 95 % interval over seeds (Student's): users who look find the same others."
    )
    notes = [
        f"Those found are {gain.text(sign=True)} more alike than anyone is; {group.value:.0%} of them are of the "
        f"user's own group ({1 / world.groups:.0%} by chance)."
    ]
    rows = [(labels[name], found[name].text()) for name in labels]
    columns = ("users", "agreement of true tastes")
    return Report("Users alike", measured, columns, rows, result, picture, notes)


def draw_users(
    gallery: Gallery, history: np.ndarray, rows: np.ndarray, agreement: np.ndarray, sem: np.ndarray
) -> Figure:
    """A few users' liked posters, beside those of the user found first and of the user least alike."""
    drawn, axes = style.figure(11, 3.9, SHOWN_USERS, 3, squeeze=False)
    drawn.get_layout_engine().set(wspace=0.04)
    far = cosines(sem - sem.mean(0), sem - sem.mean(0)).argmin(1)
    for user, line in enumerate(axes):
        others = (user, rows[user, 0], far[user])
        for other, panel, what in zip(others, line, ("a user", "found first", "least alike"), strict=True):
            images = gallery.images[history[other, :SHOWN_LIKED, 0]].permute(0, 2, 3, 1).numpy()
            panel.imshow(np.concatenate(list(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)), 1))
            panel.axis("off")
            told = "" if other == user else f", true tastes agree {agreement[user, other]:+.2f}"
            panel.set_title(f"{what}{told}", fontsize=9, color=style.INK, loc="left", pad=3)
    style.heading(drawn, "What users liked, and what the users found for them liked")
    return drawn


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("similar", measure, USERS, argv, about=__doc__, least_seeds=2)


if __name__ == "__main__":
    main()
