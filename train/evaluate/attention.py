"""Compares users by a target's attention on the preference tokens.

    python -m train.evaluate.attention

Paper index section 2 (001 figure 4): all users have the same target, and five random orders of their history each.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from prefgen.prefdisc.token_attention import record_attention
from train.data.agents import World
from train.data.posters import ATTRIBUTES
from train.evaluate import plotting
from train.evaluate.choice_trials import PAIRS, draw_trials, gallery_features
from train.evaluate.command import SEED_NOTE, Options, Report, run_command
from train.evaluate.prefdisc_scoring import EncodedGallery, packed_forward
from train.evaluate.seed_samples import sample_seeds
from train.evaluate.similar import cosines
from train.evaluate.statistics import mean_over_seeds
from train.pocket.prefdisc.user_batches import normalised_utilities

USERS, ORDERS = 450, 5
"""Users over all seeds, and random orders of every history (five, as in the paper)."""
FIGURE_USERS = 4


def attention_on_tokens(
    encoded: EncodedGallery, history: np.ndarray, target: int, desc: str = "attention"
) -> np.ndarray:
    """Measure the attention of one target's image tokens on the preference tokens.

    Args:
        encoded: The encoded gallery.
        history: Gallery indices (n, k, 2).
        target: Gallery index of the target.
        desc: Text of the progress bar.

    Returns:
        Attention weights, (n, layers, heads, image tokens, L_p). They sum to less than 1 over the preference tokens,
        because image tokens also attend to everything else.
    """
    prefdisc = encoded.prefdisc
    turn = prefdisc.template.unlabelled_turn(str(encoded.gallery.prompts(np.array(target))))
    # Offsets from the turn's last token, at which the label is predicted.
    offsets = torch.tensor([i - len(turn) + 1 for i, token in enumerate(turn) if token == prefdisc.template.image_id])
    pairs, attention = np.full((len(history), 1, 2), target), []
    with record_attention(prefdisc) as layer_weights:
        for _, packed in packed_forward(encoded, history, pairs, [history.shape[1]], desc=desc):
            positions = packed.prediction_positions[:, 0, 0].cpu()[:, None] + offsets
            users = torch.arange(len(positions))[:, None]
            layers = [
                w.float().cpu().transpose(1, 2)[users, positions][..., : prefdisc.spec.num_tokens]
                for w in layer_weights
            ]
            attention.append(torch.stack(layers, dim=1).transpose(2, 3))
            layer_weights.clear()
    return torch.cat(attention).numpy()


def attention_patterns(attention: np.ndarray) -> np.ndarray:
    """Normalise attention over the preference tokens, and drop the first layer.

    In the first layer, queries depend on the target image only and cannot differ between users.

    Args:
        attention: (..., layers, heads, image tokens, L_p).

    Returns:
        (..., layers - 1, heads, image tokens, L_p), with sum 1 over the last axis.
    """
    later = attention[..., 1:, :, :, :]
    return later / later.sum(-1, keepdims=True)


def subjects_of_one_length(encoded: EncodedGallery) -> list[int]:
    """Return the subjects whose turns have the most common length.

    With these subjects, all users have the same token positions, so positions cannot cause differences between users.
    """
    firsts = np.arange(len(ATTRIBUTES["subject"])) * encoded.gallery.per_subject
    lengths = np.array(
        [len(encoded.prefdisc.template.unlabelled_turn(prompt)) for prompt in encoded.gallery.prompts(firsts).tolist()]
    )
    return np.flatnonzero(lengths == np.bincount(lengths).argmax()).tolist()


def shuffled_histories(history: np.ndarray, orders: int, rng: np.random.Generator) -> np.ndarray:
    """Shuffle each user's pairs (n, k, 2) `orders` times: (orders, n, k, 2)."""
    places = np.tile(np.arange(history.shape[1]), (orders, len(history), 1))
    return np.take_along_axis(history[None], rng.permuted(places, axis=2)[..., None], axis=2)


def variance_between_users(patterns: np.ndarray) -> float:
    """Compute the share of the variance of patterns (orders, n, ...) that is between users."""
    flat = patterns.reshape(*patterns.shape[:2], -1)
    total = flat.var((0, 1)).sum()
    within = flat.var(0, ddof=1).mean(0).sum()
    return float(max(0.0, 1 - within / total)) if total else 0.0


def pattern_similarity(patterns: np.ndarray) -> np.ndarray:
    """Compute cosine similarities (n, n) of users' patterns (n, ...), after subtracting the mean pattern."""
    flat = patterns.reshape(len(patterns), -1)
    return cosines(flat - flat.mean(0), flat - flat.mean(0))


def measure(options: Options) -> Report:
    """Measure whether users with similar patterns have similar tastes."""
    world, prefdisc = World.load(), options.model().prefdisc
    if not prefdisc.spec.num_tokens:
        raise ValueError(f"{options.checkpoint} has no preference tokens. Choose a checkpoint that has some.")
    values_by_seed = {name: [] for name in ("share", "between", "correlation", "nearest", "group", "other")}
    picture = None
    for sample in sample_seeds(world, options.users, options.seeds, options.posters):
        encoded = EncodedGallery(prefdisc, sample.gallery, gallery_features(prefdisc, sample.gallery))
        subjects = subjects_of_one_length(encoded)
        history = draw_trials(world, sample.gallery, sample.unseen, 1, sample.rng, subjects=subjects).history
        target = int(sample.rng.integers(len(sample.gallery.attributes)))
        attention = np.stack(
            [attention_on_tokens(encoded, o, target) for o in shuffled_histories(history, ORDERS, sample.rng)]
        )
        orders = attention_patterns(attention)
        patterns = orders.mean(0)
        taste = normalised_utilities(world, sample.unseen)
        tastes = cosines(taste - taste.mean(0), taste - taste.mean(0))
        similarity, upper = pattern_similarity(patterns), np.triu_indices(len(history), 1)
        same_group = (sample.groups[:, None] == sample.groups)[upper]
        values_by_seed["share"].append(attention.sum(-1).mean())
        values_by_seed["between"].append(variance_between_users(orders))
        values_by_seed["correlation"].append(np.corrcoef(similarity[upper], tastes[upper])[0, 1])
        nearest = (similarity - 2 * np.eye(len(history))).argmax(1)
        values_by_seed["nearest"].append(tastes[np.arange(len(history)), nearest].mean())
        values_by_seed["group"].append(similarity[upper][same_group].mean())
        values_by_seed["other"].append(similarity[upper][~same_group].mean())
        picture = picture or plot_users(orders, similarity, tastes, sample.gallery.images[target])
    estimates = {name: mean_over_seeds(values) for name, values in values_by_seed.items()}
    result = {
        "attention_on_tokens": estimates["share"].to_json(),
        "variance_between_users": estimates["between"].to_json(),
        "correlation_with_taste": estimates["correlation"].to_json(),
        "taste_agreement_of_the_nearest": estimates["nearest"].to_json(),
        "similarity_same_group": estimates["group"].to_json(),
        "similarity_other_group": estimates["other"].to_json(),
        "users": options.users,
        "orders": ORDERS,
        "checkpoint": options.checkpoint,
    }
    labels = {
        "share": "attention of the target's image tokens on the preference tokens",
        "between": "share of the pattern variance that is between users, not between orders",
        "correlation": "correlation of pattern similarity with taste similarity, over pairs of users",
        "nearest": "taste similarity to the user with the most similar pattern (chance: 0)",
        "group": "pattern similarity within a true group",
        "other": "pattern similarity between groups",
    }
    measured = (
        f"{options.users:,} unseen users with {PAIRS} pairs over {options.seeds_text}. All users of a seed have the "
        f"same test poster as the target, with {ORDERS} orders of each history (subjects with prompts of equal "
        "length). A pattern is the distribution of the image tokens' attention over the preference tokens, in every "
        "head and layer except the first, averaged over orders, minus the mean of all users. Similarity is the cosine. "
        f"{SEED_NOTE}"
    )
    notes = [
        "Users with similar tastes have similar patterns."
        if estimates["correlation"].low > 0
        else "Similar patterns of similar users (001 figure 4) are not reproduced at this model size: the interval of "
        "the correlation includes zero."
    ]
    rows = [(labels[name], estimates[name].text()) for name in labels]
    return Report("Attention on preference tokens", measured, ("quantity", "value"), rows, result, picture, notes)


def plot_users(orders: np.ndarray, similarity: np.ndarray, tastes: np.ndarray, target: Tensor) -> Figure:
    """Plot the patterns of a user, of the user with the most similar pattern, and of the two least similar ones.

    There is one row for each user and one column for each order of the history. A cell has a line for each preference
    token and a column for each head and image token of the layer with the most variance between users. Red: more
    attention than the mean user; blue: less.
    """
    layer = int(np.argmax([variance_between_users(orders[:, :, i]) for i in range(orders.shape[2])]))
    deviations = (orders - orders.mean((0, 1)))[:, :, layer]
    first = int(np.argmax((similarity - 2 * np.eye(len(similarity))).max(1)))
    ranked = np.argsort(-similarity[first])
    users = [first, int(ranked[1]), *map(int, ranked[: 1 - FIGURE_USERS : -1])]
    names = ["a user", "most similar", *["least similar"] * (FIGURE_USERS - 2)]
    figure, axes = plotting.new_figure(10.5, 4.8, FIGURE_USERS, ORDERS + 1, width_ratios=[0.8, *[1] * ORDERS])
    most = np.abs(deviations[:, users]).max()
    for line, user, name in zip(axes, users, names, strict=True):
        taste_text = "" if user == first else f"\ntaste similarity {tastes[first, user]:+.2f}"
        line[0].text(
            0, 0.5, f"{name}{taste_text}", fontsize=9, va="center", color=plotting.INK, transform=line[0].transAxes
        )
        line[0].axis("off")
        for order, panel in enumerate(line[1:]):
            cell = deviations[order, user].transpose(2, 0, 1).reshape(deviations.shape[-1], -1)
            image = panel.imshow(cell, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
            panel.set_xticks([])
            panel.set_yticks([])
            for side in panel.spines.values():
                side.set_color(plotting.FAINT)
            if user == first:
                panel.set_title(f"order {order + 1}", fontsize=9, color=plotting.QUIET)
    bar = figure.colorbar(image, ax=axes[:, -1], shrink=0.7, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=0, colors=plotting.QUIET)
    corner = axes[0, 0].inset_axes([0.62, 0.05, 0.36, 0.9])
    corner.imshow(target.permute(1, 2, 0).numpy())
    corner.axis("off")
    plotting.set_heading(
        figure,
        "Attention on the preference tokens for the same target and four users",
        f"Layer {layer + 2}. Lines of a cell: preference tokens; columns: heads and the poster's image tokens. Columns "
        "of cells: five orders of the user's history.\nRed: a larger share of the attention than the mean user's; "
        "blue: a smaller share.",
    )
    return figure


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("attention", measure, USERS, argv, description=__doc__, min_seeds=2)


if __name__ == "__main__":
    main()
