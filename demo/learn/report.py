"""Reports the learning demo: true utilities of the personalised and the plain pictures by round."""

from dataclasses import asdict

import numpy as np
from matplotlib.figure import Figure

from demo.learn.config import LearnConfig
from demo.learn.rating_loop import Round
from train.evaluate import plotting
from train.evaluate.statistics import Estimate, mean_over_seeds

MIN_STANDARD_ERRORS = 3
"""Target for the gain over plain pictures in the last round, in standard errors."""


def utilities(rounds_by_agent: list[list[Round]]) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean true utilities (agents, rounds) of the personalised and of the plain pictures."""
    own, plain = (
        np.array([[getattr(round_, name).mean() for round_ in rounds] for rounds in rounds_by_agent])
        for name in ("utility", "plain_utility")
    )
    return own, plain


def slopes(gains: np.ndarray) -> np.ndarray:
    """Fit the slope of each agent's gain over the rounds with least squares: (agents, rounds >= 2) -> (agents,)."""
    return np.polyfit(np.arange(gains.shape[1]), gains.T, 1)[0]


def summarise(config: LearnConfig, own: np.ndarray, plain: np.ndarray) -> dict:
    """Summarise the rounds.

    `gain` is personalised minus plain, with the same prompt and noise; it is 0 in the first round, when there are no
    ratings yet. `growth` is the slope of the gain over all rounds; `growth_once_rated` leaves out the first round, and
    is None for fewer than three rounds. Intervals are 95 % over agents, with Student's t.

    Args:
        config: Settings.
        own: Mean true utilities of the personalised pictures, (agents >= 2, rounds >= 2).
        plain: Mean true utilities of the plain pictures, of the same shape.
    """
    gains = own - plain
    by_round = [mean_over_seeds(column) for column in gains.T]
    last = by_round[-1]
    above = last.value / last.stderr if last.stderr else None
    return {
        "rounds": list(range(1, own.shape[1] + 1)),
        "mean_true_utility": _rounded(own.mean(0)),
        "plain_mean_true_utility": _rounded(plain.mean(0)),
        "gain": [estimate.to_json() for estimate in by_round],
        "last_gain_in_standard_errors": above and round(above, 2),
        "above_plain": bool(above and above > MIN_STANDARD_ERRORS),
        "growth": mean_over_seeds(slopes(gains)).to_json(),
        "growth_once_rated": mean_over_seeds(slopes(gains[:, 1:])).to_json() if own.shape[1] > 2 else None,
        "agents": len(own),
        "images_a_round": config.images,
        "seed": config.seed,
        "strength": config.sampling.strength,
    }


def by_agent(config: LearnConfig, rounds_by_agent: list[list[Round]], own: np.ndarray, plain: np.ndarray) -> list[dict]:
    """List the prompts, ratings and utilities of every agent, for further analysis."""
    return [
        {
            "profile": config.profile(agent),
            "prompts": [round_.prompt for round_ in rounds],
            "liked": [sum(round_.ratings.values()) for round_ in rounds],
            "disliked": [len(round_.ratings) - sum(round_.ratings.values()) for round_ in rounds],
            "true_utility": _rounded(own[agent]),
            "plain_true_utility": _rounded(plain[agent]),
        }
        for agent, rounds in enumerate(rounds_by_agent)
    ]


def draw_plot(own: np.ndarray, plain: np.ndarray) -> Figure:
    """Plot both mean utilities by round with intervals, and the gain over plain of each agent and on average."""
    rounds, gains = np.arange(1, own.shape[1] + 1), own - plain
    figure, (left, right) = plotting.new_figure(10, 4, 1, 2)
    below = own[:, -1].mean() < plain[:, -1].mean()
    lines = ((plain, plotting.QUIET, "plain", not below), (own, plotting.OURS, "personalised", below))
    for values, colour, name, under in lines:
        end = rounds[-1], _band(left, rounds, values, colour)[-1]
        side = {"va": "top" if under else "bottom", "textcoords": "offset points"}
        left.annotate(name, end, (7, -3 if under else 3), color=colour, fontsize=9, **side)
    right.plot(rounds, gains.T, color=plotting.PEER, linewidth=0.7, alpha=0.7)
    _band(right, rounds, gains, plotting.OURS)
    right.axhline(0, color=plotting.QUIET, linewidth=1)
    for axes, title in ((left, "true utility"), (right, "gain over plain: mean and each agent")):
        plotting.clean_axes(axes).set_title(title, fontsize=10, loc="left", color=plotting.INK, pad=8)
        axes.set_xticks(rounds)
        axes.set_xlabel("round", fontsize=9, color=plotting.QUIET)
    last = mean_over_seeds(gains[:, -1])
    plotting.set_heading(figure, headline(last, len(rounds)), caption(len(own)))
    return figure


def headline(last: Estimate, rounds: int) -> str:
    """Return the title of the plot: the gain of the last round."""
    return f"After {rounds - 1} rounds of ratings: true utility {last.text(2, sign=True)} over plain"


def caption(agents: int) -> str:
    """Return the caption of the plot."""
    return (
        f"{agents} unseen agents rate the pictures generated for them. Plain: same prompts and noise, not "
        "personalised. Utility from the judge's predictions. Bands: 95 % over agents."
    )


def _band(axes, rounds: np.ndarray, values: np.ndarray, colour: str) -> list[float]:
    """Plot the mean of values (agents, rounds) over the agents with its interval, and return the means."""
    estimates = [asdict(mean_over_seeds(column)) for column in values.T]
    mean, low, high = ([estimate[name] for estimate in estimates] for name in ("value", "low", "high"))
    axes.fill_between(rounds, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(rounds, mean, color=colour, marker="o", markersize=4)
    return mean


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
