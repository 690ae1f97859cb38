"""Draws a t-SNE map of liked targets, coloured by user.

    python -m train.evaluate.tsne

Paper index section 2 (003 figure 9): the last layer's hidden states for images that test users liked. Because t-SNE can
show clusters where there are none, neighbours are also counted in the hidden states themselves.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from train.data.agents import World
from train.evaluate import plotting
from train.evaluate.choice_trials import PAIRS, draw_trials, gallery_features
from train.evaluate.command import SEED_NOTE, Options, Report, run_command
from train.evaluate.prefdisc_scoring import EncodedGallery, target_hidden_states
from train.evaluate.seed_samples import sample_seeds
from train.evaluate.statistics import mean_over_seeds

USERS, TARGETS, NEIGHBOURS = 90, 30, 10
"""Users over all seeds; liked targets of each user; nearest neighbours that are counted."""
MAP_USERS = 10


def own_neighbours(states: np.ndarray, owners: np.ndarray, k: int = NEIGHBOURS) -> float:
    """Compute the mean share of the k nearest neighbours of states (n, D) that have the same owner (n,)."""
    nearest = NearestNeighbors(n_neighbors=k + 1).fit(states).kneighbors(return_distance=False, n_neighbors=k)
    return float((owners[nearest] == owners[:, None]).mean())


def measure(options: Options) -> Report:
    """Measure the share of own neighbours with the user's history and without any history."""
    world, prefdisc = World.load(), options.model().prefdisc
    values_by_seed = {name: [] for name in ("user", "group", "images", "chance", "group chance")}
    picture = None
    for sample in sample_seeds(world, options.users, options.seeds, options.posters):
        encoded = EncodedGallery(prefdisc, sample.gallery, gallery_features(prefdisc, sample.gallery))
        trials = draw_trials(world, sample.gallery, sample.unseen, TARGETS, sample.rng)
        liked = np.take_along_axis(trials.targets, trials.chosen[..., None], axis=-1)[..., 0]
        states = target_hidden_states(encoded, trials.history, liked, "liked targets").reshape(liked.size, -1)
        states_no_history = target_hidden_states(encoded, trials.history[:, :0], liked, "without a history").reshape(
            liked.size, -1
        )
        owners = np.repeat(np.arange(len(liked)), TARGETS)
        groups = sample.groups[owners]
        values_by_seed["user"].append(own_neighbours(states, owners))
        values_by_seed["images"].append(own_neighbours(states_no_history, owners))
        values_by_seed["group"].append(own_neighbours(states, groups))
        values_by_seed["chance"].append((TARGETS - 1) / (liked.size - 1))
        values_by_seed["group chance"].append(
            ((groups[:, None] == groups).sum() - liked.size) / liked.size / (liked.size - 1)
        )
        picture = picture or plot_map(states[: MAP_USERS * TARGETS], owners[: MAP_USERS * TARGETS], sample.groups)
    estimates = {name: mean_over_seeds(values) for name, values in values_by_seed.items()}
    gain = mean_over_seeds(np.subtract(values_by_seed["user"], values_by_seed["images"]))
    result = {
        "own_neighbours": estimates["user"].to_json(),
        "own_neighbours_without_history": estimates["images"].to_json(),
        "own_neighbours_chance": round(estimates["chance"].value, 5),
        "neighbours_of_the_group": estimates["group"].to_json(),
        "neighbours_of_the_group_chance": round(estimates["group chance"].value, 5),
        "users": options.users,
        "targets": TARGETS,
        "checkpoint": options.checkpoint,
    }
    rows = [
        ("same user, with the user's history", estimates["user"].text(), f"{estimates['chance'].value:.3f}"),
        ("same user, without a history", estimates["images"].text(), f"{estimates['chance'].value:.3f}"),
        (
            "same true group, with the user's history",
            estimates["group"].text(),
            f"{estimates['group chance'].value:.3f}",
        ),
    ]
    measured = (
        f"{options.users:,} unseen users with {PAIRS} pairs over {options.seeds_text}, {TARGETS} liked test posters "
        f"each: the share of the {NEIGHBOURS} nearest other states in the last layer (not in the map) that belong to "
        f"the same user. The map shows {MAP_USERS} users. {SEED_NOTE}"
    )
    notes = [f"The history raises the share of own neighbours by {gain.text(sign=True)}."]
    columns = (f"nearest {NEIGHBOURS} belong to", "share", "chance")
    return Report("Liked targets by user", measured, columns, rows, result, picture, notes)


def plot_map(states: np.ndarray, owners: np.ndarray, groups: np.ndarray) -> Figure:
    """Plot the t-SNE map: one colour for each user, one marker for each group."""
    points = TSNE(2, perplexity=min(30, (len(states) - 1) / 3), init="pca", random_state=0).fit_transform(states)
    figure, axes = plotting.new_figure(7.5, 5.6)
    markers = "osD^vP*X<>"
    for user in np.unique(owners):
        own = points[owners == user]
        marker, colour = markers[groups[user] % len(markers)], plotting.COLOURS[user % len(plotting.COLOURS)]
        label = f"user {user + 1}, group {groups[user] + 1}"
        axes.scatter(*own.T, s=26, color=colour, marker=marker, alpha=0.8, linewidths=0, label=label)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)
    plotting.clean_axes(axes, None).set_xticks([])
    axes.set_yticks([])
    plotting.set_heading(
        figure,
        "Liked targets by user",
        "t-SNE of the last layer's hidden states. Colours: users; markers: true groups.",
    )
    return figure


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("tsne", measure, USERS, argv, description=__doc__, min_seeds=2)


if __name__ == "__main__":
    main()
