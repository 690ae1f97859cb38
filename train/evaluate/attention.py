"""`python -m train.evaluate.attention`: which users are alike, by how the target's image attends to preference tokens.

method.md section 2 (001 figure 4): all users judge one same target; each has five random orders of the history.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from prefgen.prefdisc.token_attention import attention_kept
from train.data.agents import World
from train.data.posters import ATTRIBUTES
from train.evaluate import style
from train.evaluate.command import Options, Report, command
from train.evaluate.draws import draws
from train.evaluate.judging import Seen, forward
from train.evaluate.similar import cosines
from train.evaluate.statistics import over_seeds
from train.evaluate.trials import PAIRS, draw_trials, features_of
from train.pocket.prefdisc.users import centred

USERS, ORDERS = 450, 5
"""Over all seeds; random orders of every history (the paper's five)."""
SHOWN = 4


def on_tokens(seen: Seen, history: np.ndarray, target: int, desc: str = "attention") -> np.ndarray:
    """Attention of one target's image tokens on the preference tokens: (n, layers, heads, image tokens, L_p).

    history (n, k, 2): rows of the gallery; target: a row. Weights are shares of what a token attends to altogether.
    """
    prefdisc = seen.prefdisc
    turn = prefdisc.turns.open(str(seen.gallery.prompts(np.array(target))))
    # Counted back from the turn's last token, which is where the label is predicted.
    images = torch.tensor([i - len(turn) + 1 for i, token in enumerate(turn) if token == prefdisc.turns.image_id])
    pairs, found = np.full((len(history), 1, 2), target), []
    with attention_kept(prefdisc) as kept:
        for _, packed in forward(seen, history, pairs, [history.shape[1]], desc=desc):
            places = packed.reads[:, 0, 0].cpu()[:, None] + images
            users = torch.arange(len(places))[:, None]
            layers = [w.float().cpu().transpose(1, 2)[users, places][..., : prefdisc.spec.num_tokens] for w in kept]
            found.append(torch.stack(layers, dim=1).transpose(2, 3))
            kept.clear()
    return torch.cat(found).numpy()


def patterns_of(attention: np.ndarray) -> np.ndarray:
    """How attention divides between the preference tokens: (..., layers, heads, image tokens, L_p) -> the same without
    the first layer. There a query knows its own image only, and no user could show."""
    later = attention[..., 1:, :, :, :]
    return later / later.sum(-1, keepdims=True)


def subjects_of_one_length(seen: Seen) -> list[int]:
    """The subjects whose turns have as many tokens as most: among their histories, positions are the same for every
    user, and so cannot look like a difference between them."""
    firsts = np.arange(len(ATTRIBUTES["subject"])) * seen.gallery.each
    lengths = np.array([len(seen.prefdisc.turns.open(prompt)) for prompt in seen.gallery.prompts(firsts).tolist()])
    return np.flatnonzero(lengths == np.bincount(lengths).argmax()).tolist()


def reordered(history: np.ndarray, orders: int, rng: np.random.Generator) -> np.ndarray:
    """Every user's pairs (n, k, 2) in `orders` random orders: (orders, n, k, 2)."""
    places = np.tile(np.arange(history.shape[1]), (orders, len(history), 1))
    return np.take_along_axis(history[None], rng.permuted(places, axis=2)[..., None], axis=2)


def between_users(patterns: np.ndarray) -> float:
    """Of the patterns' variance over users and orders (orders, n, ...), the share that is between users."""
    flat = patterns.reshape(*patterns.shape[:2], -1)
    total = flat.var((0, 1)).sum()
    within = flat.var(0, ddof=1).mean(0).sum()
    return float(max(0.0, 1 - within / total)) if total else 0.0


def alike(patterns: np.ndarray) -> np.ndarray:
    """Cosines of users' patterns (n, ...), less the mean user's: (n, n)."""
    flat = patterns.reshape(len(patterns), -1)
    return cosines(flat - flat.mean(0), flat - flat.mean(0))


def measure(options: Options) -> Report:
    """Do patterns that are alike belong to users who are alike? Over pairs of users, seed by seed."""
    world, prefdisc = World.load(), options.model().prefdisc
    if not prefdisc.spec.num_tokens:
        raise ValueError(f"{options.checkpoint} has no preference tokens to attend to: choose one that has some")
    kept = {name: [] for name in ("share", "between", "correlation", "nearest", "group", "other")}
    picture = None
    for draw in draws(world, options.users, options.seeds, options.posters):
        seen = Seen(prefdisc, draw.gallery, features_of(prefdisc, draw.gallery))
        even = subjects_of_one_length(seen)
        history = draw_trials(world, draw.gallery, draw.unseen, 1, draw.rng, subjects=even).history
        target = int(draw.rng.integers(len(draw.gallery.attributes)))
        paid = np.stack([on_tokens(seen, o, target) for o in reordered(history, ORDERS, draw.rng)])
        orders = patterns_of(paid)
        patterns = orders.mean(0)
        taste = centred(world, draw.unseen)
        tastes = cosines(taste - taste.mean(0), taste - taste.mean(0))
        similarity, upper = alike(patterns), np.triu_indices(len(history), 1)
        own = (draw.groups[:, None] == draw.groups)[upper]
        kept["share"].append(paid.sum(-1).mean())
        kept["between"].append(between_users(orders))
        kept["correlation"].append(np.corrcoef(similarity[upper], tastes[upper])[0, 1])
        nearest = (similarity - 2 * np.eye(len(history))).argmax(1)
        kept["nearest"].append(tastes[np.arange(len(history)), nearest].mean())
        kept["group"].append(similarity[upper][own].mean())
        kept["other"].append(similarity[upper][~own].mean())
        picture = picture or draw_users(orders, similarity, tastes, draw.gallery.images[target])
    found = {name: over_seeds(values) for name, values in kept.items()}
    result = {
        "attention_on_tokens": found["share"].to_json(),
        "variance_between_users": found["between"].to_json(),
        "correlation_with_taste": found["correlation"].to_json(),
        "taste_agreement_of_the_nearest": found["nearest"].to_json(),
        "similarity_same_group": found["group"].to_json(),
        "similarity_other_group": found["other"].to_json(),
        "users": options.users,
        "orders": ORDERS,
        "checkpoint": options.checkpoint,
    }
    labels = {
        "share": "attention of the target's image tokens on preference tokens",
        "between": "share of the patterns' variance that is between users, not between orders",
        "correlation": "correlation of patterns' similarity with true tastes', over pairs of users",
        "nearest": "agreement of true tastes with the user whose pattern is nearest (chance: 0)",
        "group": "similarity of patterns within a true group",
        "other": "similarity of patterns between groups",
    }
    measured = (
        f"{options.users:,} unseen users with {PAIRS} pairs over {options.told_seeds}; a seed's users judge one same "
        f"test poster, with {ORDERS} orders of each history (of subjects whose prompts are equally long). A pattern is "
        "how the attention of the poster's image tokens divides between the preference tokens, in every head and layer "
        "but the first, less the mean user's, meant over orders; similarity is its cosine. ± is half a 95 % interval "
        "over seeds (Student's)."
    )
    notes = [
        "Patterns of users who are alike are alike."
        if found["correlation"].low > 0
        else "That alike users have alike patterns (001 figure 4) does not show at this size: the interval of the "
        "correlation reaches zero."
    ]
    rows = [(labels[name], found[name].text()) for name in labels]
    return Report("Attention on preference tokens", measured, ("figure", "value"), rows, result, picture, notes)


def draw_users(orders: np.ndarray, similarity: np.ndarray, tastes: np.ndarray, target: Tensor) -> Figure:
    """One user, the one whose pattern is nearest, and the two farthest: a row each, a column each order of history.

    A cell has a line for each preference token and a column for each head and image token, of the layer that differs
    most between users; red is more attention than the mean user pays, blue is less.
    """
    layer = int(np.argmax([between_users(orders[:, :, i]) for i in range(orders.shape[2])]))
    shown = (orders - orders.mean((0, 1)))[:, :, layer]
    first = int(np.argmax((similarity - 2 * np.eye(len(similarity))).max(1)))
    ranked = np.argsort(-similarity[first])
    users = [first, int(ranked[1]), *map(int, ranked[: 1 - SHOWN : -1])]
    names = ["a user", "nearest pattern", *["farthest pattern"] * (SHOWN - 2)]
    drawn, axes = style.figure(10.5, 4.8, SHOWN, ORDERS + 1, width_ratios=[0.8, *[1] * ORDERS])
    most = np.abs(shown[:, users]).max()
    for line, user, name in zip(axes, users, names, strict=True):
        told = "" if user == first else f"\ntastes agree {tastes[first, user]:+.2f}"
        line[0].text(0, 0.5, f"{name}{told}", fontsize=9, va="center", color=style.INK, transform=line[0].transAxes)
        line[0].axis("off")
        for order, panel in enumerate(line[1:]):
            cell = shown[order, user].transpose(2, 0, 1).reshape(shown.shape[-1], -1)
            image = panel.imshow(cell, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
            panel.set_xticks([])
            panel.set_yticks([])
            for side in panel.spines.values():
                side.set_color(style.FAINT)
            if user == first:
                panel.set_title(f"order {order + 1}", fontsize=9, color=style.QUIET)
    bar = drawn.colorbar(image, ax=axes[:, -1], shrink=0.7, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=0, colors=style.QUIET)
    corner = axes[0, 0].inset_axes([0.62, 0.05, 0.36, 0.9])
    corner.imshow(target.permute(1, 2, 0).numpy())
    corner.axis("off")
    style.heading(
        drawn,
        "The same poster, judged for four users: attention on the preference tokens",
        f"Layer {layer + 2}. Lines of a cell: preference tokens; columns: heads and the poster's image tokens. Columns "
        "of cells: the user's history in five orders.\nRed: a larger part of the attention than the mean user's, blue: "
        "a smaller one.",
    )
    return drawn


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("attention", measure, USERS, argv, about=__doc__, least_seeds=2)


if __name__ == "__main__":
    main()
