"""From rounds to numbers: what the agents truly think of what was painted for them, beside the plain pictures."""

from dataclasses import asdict

import numpy as np
from matplotlib.figure import Figure

from demo.learn.config import LearnConfig
from demo.learn.rating_loop import Round
from train.evaluate import plotting
from train.evaluate.statistics import Estimate, mean_over_seeds

BAR = 3
"""Standard errors that the last round has to be above plain."""


def utilities(rounds_by_agent: list[list[Round]]) -> tuple[np.ndarray, np.ndarray]:
    """The mean true utility of each agent's round, and of its plain pictures: (agents, rounds) each."""
    own, plain = (
        np.array([[getattr(done, name).mean() for done in rounds] for rounds in rounds_by_agent])
        for name in ("utility", "plain_utility")
    )
    return own, plain


def slopes(gains: np.ndarray) -> np.ndarray:
    """How much each agent's gain grows in a round, by least squares: (agents, rounds >= 2) -> (agents,)."""
    return np.polyfit(np.arange(gains.shape[1]), gains.T, 1)[0]


def summarise(config: LearnConfig, own: np.ndarray, plain: np.ndarray) -> dict:
    """The report. own, plain: mean true utilities (agents, rounds), of two agents and two rounds at least.

    `gain` is own less plain, the same prompt and noise on both sides: in the first round it is 0, as nothing is rated
    yet. `growth` is the slope of the gain over all rounds; `growth_once_rated` leaves the first out, None of fewer than
    three rounds. Standard errors are over agents, intervals of 95 %, Student's: agents are few.
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
        "above_plain": bool(above and above > BAR),
        "growth": mean_over_seeds(slopes(gains)).to_json(),
        "growth_once_rated": mean_over_seeds(slopes(gains[:, 1:])).to_json() if own.shape[1] > 2 else None,
        "agents": len(own),
        "images_a_round": config.images,
        "seed": config.seed,
        "strength": config.sampling.strength,
    }


def by_agent(config: LearnConfig, rounds_by_agent: list[list[Round]], own: np.ndarray, plain: np.ndarray) -> list[dict]:
    """What every agent's rounds were, for those who want to compute something else."""
    return [
        {
            "profile": config.profile(agent),
            "prompts": [done.prompt for done in rounds],
            "liked": [sum(done.ratings.values()) for done in rounds],
            "disliked": [len(done.ratings) - sum(done.ratings.values()) for done in rounds],
            "true_utility": _rounded(own[agent]),
            "plain_true_utility": _rounded(plain[agent]),
        }
        for agent, rounds in enumerate(rounds_by_agent)
    ]


def draw_plot(own: np.ndarray, plain: np.ndarray) -> Figure:
    """Both curves by round with their intervals, and beside them the gain, agent by agent and in the mean."""
    rounds, gains = np.arange(1, own.shape[1] + 1), own - plain
    drawn, (left, right) = plotting.new_figure(10, 4, 1, 2)
    below = own[:, -1].mean() < plain[:, -1].mean()
    lines = ((plain, plotting.QUIET, "plain", not below), (own, plotting.OURS, "for the agent", below))
    for values, colour, name, under in lines:
        end = rounds[-1], _band(left, rounds, values, colour)[-1]
        side = {"va": "top" if under else "bottom", "textcoords": "offset points"}
        left.annotate(name, end, (7, -3 if under else 3), color=colour, fontsize=9, **side)
    right.plot(rounds, gains.T, color=plotting.PEER, linewidth=0.7, alpha=0.7)
    _band(right, rounds, gains, plotting.OURS)
    right.axhline(0, color=plotting.QUIET, linewidth=1)
    for axes, title in ((left, "true utility"), (right, "gain over plain, and each agent's")):
        plotting.clean_axes(axes).set_title(title, fontsize=10, loc="left", color=plotting.INK, pad=8)
        axes.set_xticks(rounds)
        axes.set_xlabel("round", fontsize=9, color=plotting.QUIET)
    last = mean_over_seeds(gains[:, -1])
    plotting.set_heading(drawn, headline(last, len(rounds)), told(len(own)))
    return drawn


def headline(last: Estimate, rounds: int) -> str:
    """The finding, in a line: the last round's gain."""
    return f"After {rounds - 1} rounds of likes and dislikes: {last.text(2, sign=True)} in true utility over plain"


def told(agents: int) -> str:
    """What the plot shows."""
    return (
        f"{agents} agents that no model was trained on like and dislike what is painted for them. Plain: the same "
        "prompts and noise for nobody. Utility by the judge's reading. Bands: 95 % over agents."
    )


def _band(axes, rounds: np.ndarray, values: np.ndarray, colour: str) -> list[float]:
    """The mean over agents (agents, rounds) by round as a line in its interval; returns the means."""
    estimates = [asdict(mean_over_seeds(column)) for column in values.T]
    mean, low, high = ([estimate[name] for estimate in estimates] for name in ("value", "low", "high"))
    axes.fill_between(rounds, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(rounds, mean, color=colour, marker="o", markersize=4)
    return mean


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
