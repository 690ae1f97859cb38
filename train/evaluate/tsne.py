"""`python -m train.evaluate.tsne`: a map of liked targets, coloured by user.

method.md section 2 (003 figure 9): the last layer's states of the images that test users liked. That targets of one
user lie together is also counted, in the states themselves, for t-SNE shows clusters where there are none.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from train.data.agents import World
from train.evaluate import style
from train.evaluate.command import Options, Report, command
from train.evaluate.draws import draws
from train.evaluate.judging import Seen, states_at_targets
from train.evaluate.statistics import over_seeds
from train.evaluate.trials import PAIRS, draw_trials, features_of

USERS, TARGETS, NEIGHBOURS = 90, 30, 10
"""Over all seeds; liked targets of each user; nearest states that are counted."""
SHOWN = 10


def own_neighbours(states: np.ndarray, owners: np.ndarray, k: int = NEIGHBOURS) -> float:
    """Of each state's k nearest others (n, D), the share that has the same owner (n,); the mean over all."""
    nearest = NearestNeighbors(n_neighbors=k + 1).fit(states).kneighbors(return_distance=False, n_neighbors=k)
    return float((owners[nearest] == owners[:, None]).mean())


def measure(options: Options) -> Report:
    """The share of own neighbours with the user's history, and of the same targets with another's order of users."""
    world, prefdisc = World.load(), options.model().prefdisc
    kept = {name: [] for name in ("user", "group", "images", "chance", "group chance")}
    picture = None
    for draw in draws(world, options.users, options.seeds, options.posters):
        seen = Seen(prefdisc, draw.gallery, features_of(prefdisc, draw.gallery))
        trials = draw_trials(world, draw.gallery, draw.unseen, TARGETS, draw.rng)
        liked = np.take_along_axis(trials.targets, trials.chosen[..., None], axis=-1)[..., 0]
        states = states_at_targets(seen, trials.history, liked, "liked targets").reshape(liked.size, -1)
        alone = states_at_targets(seen, trials.history[:, :0], liked, "with no history").reshape(liked.size, -1)
        owners = np.repeat(np.arange(len(liked)), TARGETS)
        groups = draw.groups[owners]
        kept["user"].append(own_neighbours(states, owners))
        kept["images"].append(own_neighbours(alone, owners))
        kept["group"].append(own_neighbours(states, groups))
        kept["chance"].append((TARGETS - 1) / (liked.size - 1))
        kept["group chance"].append(((groups[:, None] == groups).sum() - liked.size) / liked.size / (liked.size - 1))
        picture = picture or draw_map(states[: SHOWN * TARGETS], owners[: SHOWN * TARGETS], draw.groups)
    found = {name: over_seeds(values) for name, values in kept.items()}
    gain = over_seeds(np.subtract(kept["user"], kept["images"]))
    result = {
        "own_neighbours": found["user"].to_json(),
        "own_neighbours_without_history": found["images"].to_json(),
        "own_neighbours_chance": round(found["chance"].value, 5),
        "neighbours_of_the_group": found["group"].to_json(),
        "neighbours_of_the_group_chance": round(found["group chance"].value, 5),
        "users": options.users,
        "targets": TARGETS,
        "checkpoint": options.checkpoint,
    }
    rows = [
        ("the same user's, read with the user's history", found["user"].text(), f"{found['chance'].value:.3f}"),
        ("the same user's, read with no history", found["images"].text(), f"{found['chance'].value:.3f}"),
        ("the same true group's, with the history", found["group"].text(), f"{found['group chance'].value:.3f}"),
    ]
    measured = (
        f"{options.users:,} unseen users with {PAIRS} pairs over {options.told_seeds}, {TARGETS} liked test posters "
        f"each: of the {NEIGHBOURS} nearest other states in the last layer (not in the map), how many are of the same "
        f"user. The map shows {SHOWN} users. ± is half a 95 % interval over seeds (Student's)."
    )
    notes = [f"The history brings a user's liked targets together: {gain.text(sign=True)} own neighbours."]
    columns = (f"nearest {NEIGHBOURS} are", "share", "chance")
    return Report("Liked targets by user", measured, columns, rows, result, picture, notes)


def draw_map(states: np.ndarray, owners: np.ndarray, groups: np.ndarray) -> Figure:
    """t-SNE of liked targets, a colour and a number each user; users of one group share a marker."""
    points = TSNE(2, perplexity=min(30, (len(states) - 1) / 3), init="pca", random_state=0).fit_transform(states)
    drawn, axes = style.figure(7.5, 5.6)
    markers = "osD^vP*X<>"
    for user in np.unique(owners):
        own = points[owners == user]
        marker, colour = markers[groups[user] % len(markers)], style.COLOURS[user % len(style.COLOURS)]
        label = f"user {user + 1}, group {groups[user] + 1}"
        axes.scatter(*own.T, s=26, color=colour, marker=marker, alpha=0.8, linewidths=0, label=label)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)
    style.plain(axes, None).set_xticks([])
    axes.set_yticks([])
    style.heading(
        drawn,
        "Liked targets, by who liked them",
        "t-SNE of the last layer's states; a colour is a user, a marker a true group.",
    )
    return drawn


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("tsne", measure, USERS, argv, about=__doc__, least_seeds=2)


if __name__ == "__main__":
    main()
