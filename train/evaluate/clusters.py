"""`python -m train.evaluate.clusters`: do users of one kind lie together? K-means over users judging one same target.

method.md section 2 (001 table 6): last-token, last-layer states of users who are all paired with one target image;
silhouette (higher is better) and Davies-Bouldin (lower is better). Here the users' true groups are known as well.
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib.figure import Figure
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

from train.data.agents import World
from train.evaluate import style
from train.evaluate.command import Options, Report, command
from train.evaluate.draws import draws
from train.evaluate.judging import Seen, sem_of, states_at_targets
from train.evaluate.statistics import over_seeds
from train.evaluate.trials import PAIRS, draw_trials, features_of

USERS, TARGETS = 1000, 5
"""Over all seeds (the paper: 70 users); target images, one after the other (default ours)."""
PLACES = {"target": "last layer, judging one target", "sem": "sem layers, end of the history"}
FIGURES = {
    "silhouette": "silhouette (higher is better)",
    "davies_bouldin": "Davies-Bouldin (lower is better)",
    "adjusted_rand": "agreement with the true groups (chance: 0)",
}


def clustering(states: np.ndarray, groups: np.ndarray, clusters: int, seed: int = 0) -> dict[str, float]:
    """K-means of users' states (n, D), and how good it is; adjusted_rand: 1 where it finds `groups` (n,) exactly."""
    labels = KMeans(clusters, n_init=10, random_state=seed).fit_predict(states)
    return {
        "silhouette": float(silhouette_score(states, labels)),
        "davies_bouldin": float(davies_bouldin_score(states, labels)),
        "adjusted_rand": float(adjusted_rand_score(groups, labels)),
    }


def of_targets(states: np.ndarray, groups: np.ndarray, clusters: int) -> dict[str, float]:
    """The means over targets: states (n, targets, D), clustered for each target by itself."""
    found = [clustering(states[:, i], groups, clusters) for i in range(states.shape[1])]
    return {name: float(np.mean([row[name] for row in found])) for name in FIGURES}


def same_targets(gallery_size: int, users: int, rng: np.random.Generator, targets: int = TARGETS) -> np.ndarray:
    """Rows (users, targets) of a gallery, the same for every user."""
    return np.tile(rng.choice(gallery_size, targets, replace=False), (users, 1))


def measure(options: Options) -> Report:
    """Measure every seed by itself."""
    clusters, sweep = options.given.clusters, options.given.sweep
    world, prefdisc = World.load(), options.model().prefdisc
    found = {place: [] for place in PLACES}
    curves, shown = [], None
    for draw in draws(world, options.users, options.seeds, options.posters):
        seen = Seen(prefdisc, draw.gallery, features_of(prefdisc, draw.gallery))
        history = draw_trials(world, draw.gallery, draw.unseen, 1, draw.rng).history
        rows = same_targets(len(draw.gallery.attributes), len(history), draw.rng)
        states = states_at_targets(seen, history, rows, "users before one target")
        found["target"].append(of_targets(states, draw.groups, clusters))
        found["sem"].append(clustering(sem_of(seen, history), draw.groups, clusters))
        curves.append([clustering(states[:, 0], draw.groups, k)["silhouette"] for k in sweep])
        shown = shown or (states[:, 0], draw.groups)
    told = {place: {name: over_seeds([row[name] for row in rows]) for name in FIGURES} for place, rows in found.items()}
    curve = [over_seeds(values) for values in zip(*curves, strict=True)]
    result = {
        **{place: {name: e.to_json() for name, e in row.items()} for place, row in told.items()},
        "silhouette_by_clusters": {str(k): e.to_json() for k, e in zip(sweep, curve, strict=True)},
        "clusters": clusters,
        "true_groups": world.groups,
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [(PLACES[place], *(e.text() for e in told[place].values())) for place in PLACES]
    best = sweep[int(np.argmax([e.value for e in curve]))]
    measured = (
        f"{options.users:,} unseen users with {PAIRS} pairs over {options.told_seeds}; each seed's users all judge the "
        f"same {TARGETS} test posters, one after the other; K-means with {clusters} clusters (as many as the world has "
        "groups; ten starts). ± is half a 95 % interval over seeds (Student's)."
    )
    notes = [f"Of {sweep[0]} to {sweep[-1]} clusters, {best} have the best silhouette; the world has {world.groups}."]
    drawn = draw_map(*shown, curve, sweep, world.groups)
    return Report("Users of one kind", measured, ("states", *FIGURES.values()), rows, result, drawn, notes)


def draw_map(states: np.ndarray, groups: np.ndarray, curve: list, sweep: list[int], true: int) -> Figure:
    """Users on two principal axes, coloured by their true group; and silhouettes by the number of clusters."""
    drawn, (left, right) = style.figure(10, 4.6, 1, 2, width_ratios=(1.5, 1))
    principal = PCA(2).fit(states)
    points = principal.transform(states)
    for group in range(true):
        own = groups == group
        left.scatter(*points[own].T, s=14, color=style.COLOURS[group % len(style.COLOURS)], alpha=0.75, linewidths=0)
    kept = principal.explained_variance_ratio_.sum()
    left.set_title(f"states before the label: two axes, {kept:.0%} of the variance", fontsize=9)
    style.plain(left, None).set_xticks([])
    left.set_yticks([])
    low, value, high = (np.array([getattr(e, part) for e in curve]) for part in ("low", "value", "high"))
    right.fill_between(sweep, low, high, color=style.OURS, alpha=0.15, linewidth=0)
    right.plot(sweep, value, color=style.OURS, linewidth=2, marker="o", markersize=4)
    right.axvline(true, color=style.LIMIT, linestyle=(0, (4, 3)))
    right.set_title("silhouette by number of clusters; dashed: the true number", fontsize=9)
    style.plain(right)
    style.heading(drawn, "Users who all judge the same poster, by their true group")
    return drawn


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clusters", type=int, default=World.load().groups, help="K; the world's groups if not given")
    parser.add_argument("--sweep", type=int, nargs="+", default=list(range(2, 13)), help="numbers of clusters to draw")


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("clusters", measure, USERS, argv, _options, __doc__, least_seeds=2)


if __name__ == "__main__":
    main()
