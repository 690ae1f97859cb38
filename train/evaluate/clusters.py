"""Clusters users with K-means by their hidden states for the same target.

    python -m train.evaluate.clusters

Paper index section 2 (001 table 6): last-token, last-layer states of users who are all paired with one target image, by
silhouette (higher is better) and Davies-Bouldin index (lower is better). The users' true groups are known here.
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib.figure import Figure
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

from train.data.agents import World
from train.evaluate import plotting
from train.evaluate.choice_trials import PAIRS, draw_trials, gallery_features
from train.evaluate.command import SEED_NOTE, Options, Report, run_command
from train.evaluate.prefdisc_scoring import EncodedGallery, sem_embeddings, target_hidden_states
from train.evaluate.seed_samples import sample_seeds
from train.evaluate.statistics import mean_over_seeds

USERS, TARGETS = 1000, 5
"""Users over all seeds (the paper: 70), and target images, evaluated one by one (our choice)."""
STATES = {"target": "last layer, at one target", "sem": "sem layers, end of the history"}
METRICS = {
    "silhouette": "silhouette (higher is better)",
    "davies_bouldin": "Davies-Bouldin (lower is better)",
    "adjusted_rand": "agreement with the true groups (chance: 0)",
}


def clustering(states: np.ndarray, groups: np.ndarray, clusters: int, seed: int = 0) -> dict[str, float]:
    """Cluster states (n, D) with K-means, and rate the clusters; adjusted_rand compares them with `groups` (n,)."""
    labels = KMeans(clusters, n_init=10, random_state=seed).fit_predict(states)
    return {
        "silhouette": float(silhouette_score(states, labels)),
        "davies_bouldin": float(davies_bouldin_score(states, labels)),
        "adjusted_rand": float(adjusted_rand_score(groups, labels)),
    }


def mean_clustering(states: np.ndarray, groups: np.ndarray, clusters: int) -> dict[str, float]:
    """Cluster states (n, targets, D) for each target separately, and average the metrics."""
    by_target = [clustering(states[:, i], groups, clusters) for i in range(states.shape[1])]
    return {name: float(np.mean([row[name] for row in by_target])) for name in METRICS}


def same_targets(gallery_size: int, users: int, rng: np.random.Generator, targets: int = TARGETS) -> np.ndarray:
    """Draw gallery indices (users, targets) that are the same for every user."""
    return np.tile(rng.choice(gallery_size, targets, replace=False), (users, 1))


def measure(options: Options) -> Report:
    """Cluster the users of each seed separately."""
    clusters, sweep = options.arguments.clusters, options.arguments.sweep
    world, prefdisc = World.load(), options.model().prefdisc
    metrics = {name: [] for name in STATES}
    curves, map_data = [], None
    for sample in sample_seeds(world, options.users, options.seeds, options.posters):
        encoded = EncodedGallery(prefdisc, sample.gallery, gallery_features(prefdisc, sample.gallery))
        history = draw_trials(world, sample.gallery, sample.unseen, 1, sample.rng).history
        rows = same_targets(len(sample.gallery.attributes), len(history), sample.rng)
        states = target_hidden_states(encoded, history, rows, "users at one target")
        metrics["target"].append(mean_clustering(states, sample.groups, clusters))
        metrics["sem"].append(clustering(sem_embeddings(encoded, history), sample.groups, clusters))
        curves.append([clustering(states[:, 0], sample.groups, k)["silhouette"] for k in sweep])
        map_data = map_data or (states[:, 0], sample.groups)
    estimates = {
        states: {name: mean_over_seeds([row[name] for row in rows]) for name in METRICS}
        for states, rows in metrics.items()
    }
    curve = [mean_over_seeds(values) for values in zip(*curves, strict=True)]
    result = {
        **{states: {name: e.to_json() for name, e in row.items()} for states, row in estimates.items()},
        "silhouette_by_clusters": {str(k): e.to_json() for k, e in zip(sweep, curve, strict=True)},
        "clusters": clusters,
        "true_groups": world.groups,
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [(label, *(e.text() for e in estimates[states].values())) for states, label in STATES.items()]
    best = sweep[int(np.argmax([e.value for e in curve]))]
    measured = (
        f"{options.users:,} unseen users with {PAIRS} pairs over {options.seeds_text}. All users of a seed have the "
        f"same {TARGETS} test posters as targets, evaluated one by one. K-means with {clusters} clusters and ten "
        f"starts; the simulation has {world.groups} groups. {SEED_NOTE}"
    )
    notes = [
        f"The silhouette is best with {best} clusters (tested: {sweep[0]} to {sweep[-1]}); the true number is "
        f"{world.groups}."
    ]
    figure = plot_map(*map_data, curve, sweep, world.groups)
    return Report("Clusters of users", measured, ("states", *METRICS.values()), rows, result, figure, notes)


def plot_map(states: np.ndarray, groups: np.ndarray, curve: list, sweep: list[int], true_groups: int) -> Figure:
    """Plot users on two principal axes, coloured by true group, and the silhouette by the number of clusters."""
    figure, (left, right) = plotting.new_figure(10, 4.6, 1, 2, width_ratios=(1.5, 1))
    principal = PCA(2).fit(states)
    points = principal.transform(states)
    for group in range(true_groups):
        members = groups == group
        left.scatter(
            *points[members].T, s=14, color=plotting.COLOURS[group % len(plotting.COLOURS)], alpha=0.75, linewidths=0
        )
    explained = principal.explained_variance_ratio_.sum()
    left.set_title(f"states at the label: two principal axes, {explained:.0%} of the variance", fontsize=9)
    plotting.clean_axes(left, None).set_xticks([])
    left.set_yticks([])
    low, value, high = (np.array([getattr(e, part) for e in curve]) for part in ("low", "value", "high"))
    right.fill_between(sweep, low, high, color=plotting.OURS, alpha=0.15, linewidth=0)
    right.plot(sweep, value, color=plotting.OURS, linewidth=2, marker="o", markersize=4)
    right.axvline(true_groups, color=plotting.LIMIT, linestyle=(0, (4, 3)))
    right.set_title("silhouette by number of clusters; dashed: the true number", fontsize=9)
    plotting.clean_axes(right)
    plotting.set_heading(figure, "Hidden states of users for the same target, by true group")
    return figure


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clusters", type=int, default=World.load().groups, help="K (default: number of true groups)")
    parser.add_argument(
        "--sweep", type=int, nargs="+", default=list(range(2, 13)), help="numbers of clusters in the figure"
    )


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("clusters", measure, USERS, argv, _options, __doc__, min_seeds=2)


if __name__ == "__main__":
    main()
