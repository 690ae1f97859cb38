"""Finds users with similar tastes by their `sem` embeddings.

    python -m train.evaluate.similar

The paper shows examples (001 section 3.2); here the similarity is checked against the users' true tastes.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.data.agents import World
from train.evaluate import plotting
from train.evaluate.choice_trials import PAIRS, Gallery, draw_trials, gallery_features
from train.evaluate.command import SEED_NOTE, Options, Report, run_command
from train.evaluate.prefdisc_scoring import EncodedGallery, sem_embeddings
from train.evaluate.seed_samples import sample_seeds
from train.evaluate.statistics import mean_over_seeds
from train.pocket.prefdisc.user_batches import normalised_utilities

USERS, NEAREST = 1500, 5
FIGURE_USERS, FIGURE_IMAGES = 4, 6


def find_similar_users(
    embeddings: np.ndarray, queries: np.ndarray, k: int = NEAREST, exclude: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k users whose embeddings have the highest cosine similarity to each query.

    The mean embedding is subtracted first, because all embeddings share a large common component.

    Args:
        embeddings: One user a row, (n, D).
        queries: (q, D).
        k: Number of users to find.
        exclude: A row to exclude for each query, such as the query itself, (q,).

    Returns:
        Rows (q, k), most similar first, and their cosine similarities (q, k).

    Raises:
        ValueError: Fewer than k users are left.
    """
    embeddings, queries = np.atleast_2d(embeddings), np.atleast_2d(queries)
    available = len(embeddings) - (exclude is not None)
    if not 1 <= k <= available:
        raise ValueError(f"k is {k}; expected 1 to {available}, the number of other users.")
    similarity = cosines(queries - embeddings.mean(0), embeddings - embeddings.mean(0))
    if exclude is not None:
        similarity[np.arange(len(queries)), exclude] = -np.inf
    rows = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(similarity, rows, axis=1)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the cosine similarity of every row of a (n, D) with every row of b (m, D): (n, m)."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    return a @ b.T


def measure(options: Options) -> Report:
    """Search for similar users within each seed, and compare the true tastes."""
    world, prefdisc = World.load(), options.model().prefdisc
    values_by_seed = {name: [] for name in ("found", "anyone", "best", "same group")}
    picture = None
    for sample in sample_seeds(world, options.users, options.seeds, options.posters):
        encoded = EncodedGallery(prefdisc, sample.gallery, gallery_features(prefdisc, sample.gallery))
        trials = draw_trials(world, sample.gallery, sample.unseen, 1, sample.rng)
        sem = sem_embeddings(encoded, trials.history)
        everyone = np.arange(len(sem))
        rows, _ = find_similar_users(sem, sem, NEAREST, exclude=everyone)
        taste = normalised_utilities(world, sample.unseen)
        agreement = cosines(taste - taste.mean(0), taste - taste.mean(0))
        np.fill_diagonal(agreement, np.nan)
        values_by_seed["found"].append(np.take_along_axis(agreement, rows, axis=1).mean())
        values_by_seed["anyone"].append(np.nanmean(agreement))
        values_by_seed["best"].append(np.sort(np.nan_to_num(agreement, nan=-1))[:, -NEAREST:].mean())
        values_by_seed["same group"].append((sample.groups[rows] == sample.groups[:, None]).mean())
        picture = picture or plot_users(sample.gallery, trials.history, rows, agreement, sem)
    estimates = {name: mean_over_seeds(values) for name, values in values_by_seed.items()}
    gain, group = (
        mean_over_seeds(np.subtract(values_by_seed["found"], values_by_seed["anyone"])),
        estimates.pop("same group"),
    )
    result = {
        **{f"taste_agreement_{name}": estimate.to_json() for name, estimate in estimates.items()},
        "found_minus_anyone": gain.to_json(),
        "of_the_same_group": group.to_json(),
        "nearest": NEAREST,
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    labels = {
        "best": f"the {NEAREST} whose true tastes are nearest",
        "found": f"the {NEAREST} found by `sem`",
        "anyone": "all other users",
    }
    measured = (
        f"For each of {options.users:,} unseen users with {PAIRS} pairs, over {options.seeds_text}: the {NEAREST} "
        "users of the same seed with the most similar `sem` embedding. Agreement is the cosine of the true tastes "
        f"after subtracting the population mean. {SEED_NOTE}"
    )
    notes = [
        f"The users found agree {gain.text(sign=True)} more than all other users; {group.value:.0%} of them belong to "
        f"the user's own group (chance: {1 / world.groups:.0%})."
    ]
    rows = [(labels[name], estimates[name].text()) for name in labels]
    columns = ("users", "agreement of true tastes")
    return Report("Similar users", measured, columns, rows, result, picture, notes)


def plot_users(
    gallery: Gallery, history: np.ndarray, rows: np.ndarray, agreement: np.ndarray, sem: np.ndarray
) -> Figure:
    """Draw the liked posters of a few users, and of the most and the least similar user of each."""
    figure, axes = plotting.new_figure(11, 3.9, FIGURE_USERS, 3, squeeze=False)
    figure.get_layout_engine().set(wspace=0.04)
    far = cosines(sem - sem.mean(0), sem - sem.mean(0)).argmin(1)
    for user, line in enumerate(axes):
        others = (user, rows[user, 0], far[user])
        for other, panel, label in zip(others, line, ("a user", "most similar", "least similar"), strict=True):
            images = gallery.images[history[other, :FIGURE_IMAGES, 0]].permute(0, 2, 3, 1).numpy()
            panel.imshow(np.concatenate(list(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)), 1))
            panel.axis("off")
            agreement_text = "" if other == user else f", true tastes agree {agreement[user, other]:+.2f}"
            panel.set_title(f"{label}{agreement_text}", fontsize=9, color=plotting.INK, loc="left", pad=3)
    plotting.set_heading(figure, "Liked posters of users, of their most similar user and of the least similar one")
    return figure


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("similar", measure, USERS, argv, description=__doc__, min_seeds=2)


if __name__ == "__main__":
    main()
