"""Builds the report of the ReNO command: tables, JSON values, targets and notes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prefgen.rewards import PUBLISHED_REWARDS
from train.evaluate.command import Table
from train.evaluate.pictures.evaluator import PictureMetrics
from train.evaluate.pictures.metrics import NOT_MEASURED, wins
from train.evaluate.reno.cached_generator import GeneratedPictures
from train.evaluate.reno.conditions import ALL_CONDITIONS
from train.evaluate.statistics import Estimate, mean_over_users, paired_difference

MIN_WIN_RATE, MAX_LOSS, MAX_HACKING = 0.85, 0.03, 0.15
"""Targets of ReNO: win rate over plain, largest loss of prompt adherence, and largest share of reward hacking, where
the score rises while true utility falls."""


@dataclass(frozen=True)
class ConditionResult:
    """Results of one condition.

    Attributes:
        generated: Its pictures.
        measured: Metrics of its pictures.
        plain: Metrics of plain's pictures of the same agents.
        baseline: Metrics of the pictures before the optimisation.
        published: Published rewards whose files are available, (n, m) each.
    """

    generated: GeneratedPictures
    measured: PictureMetrics
    plain: PictureMetrics
    baseline: PictureMetrics
    published: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def wins(self) -> np.ndarray:
        """Wins over plain by true utility, (n, m). A tie counts half."""
        return wins(self.measured.utility, self.plain.utility)

    @property
    def hacked(self) -> np.ndarray:
        """Return whether the condition's own reward rose while true utility fell below the baseline's, (n, m)."""
        return (self.generated.score > self.generated.first) & (self.measured.utility < self.baseline.utility)

    @property
    def hacked_from_plain(self) -> np.ndarray:
        """Return whether PrefDisc's score is above plain's while true utility is below plain's, (n, m)."""
        return (self.measured.score > self.plain.score) & (self.measured.utility < self.plain.utility)

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The estimates that are reported for every condition."""
        measured = self.measured
        return {
            "win_rate": mean_over_users(self.wins),
            "utility_over_plain": paired_difference(measured.utility, self.plain.utility),
            "obedience": mean_over_users(measured.subject_correct),
            "hacking_fraction": mean_over_users(self.hacked),
            "hacking_from_plain": mean_over_users(self.hacked_from_plain),
            "score": mean_over_users(measured.score),
            "clip_text": mean_over_users(measured.clip_text),
            "clip_img": mean_over_users(measured.clip_img),
            "style": mean_over_users(measured.style),
            **{name: mean_over_users(values) for name, values in self.published.items()},
        }


def tables(results: dict[str, ConditionResult]) -> list[Table]:
    """Build the table of wins over plain, and the table of the papers' metrics."""
    estimates = {name: result.estimates for name, result in results.items()}
    main = [
        (
            ALL_CONDITIONS[name].label,
            "" if name == "plain" else row["win_rate"].text(),
            "" if name == "plain" else row["utility_over_plain"].text(2, sign=True),
            row["obedience"].text(),
            row["hacking_fraction"].text() if ALL_CONDITIONS[name].reward else "",
            row["score"].text(),
        )
        for name, row in estimates.items()
    ]
    columns = ("condition", "wins over plain", "utility over plain", "subject recognised", "hacking", "PrefDisc score")
    metrics = [
        (
            ALL_CONDITIONS[name].label,
            *(row[metric].text() for metric in ("clip_text", "clip_img", "style")),
            *(row[reward].text() if reward in row else NOT_MEASURED for reward in PUBLISHED_REWARDS),
            NOT_MEASURED,
            NOT_MEASURED,
        )
        for name, row in estimates.items()
    ]
    pocket = ("CLIP-Text (pocket CLIP)", "CLIP-Img (pocket CLIP)", "style (pocket CLIP)")
    published = (*(spec.title for spec in PUBLISHED_REWARDS.values()), "CSD", "ViPer (published)")
    return [Table("Wins", columns, main), Table("The papers' measures", ("condition", *pocket, *published), metrics)]


def figures(results: dict[str, ConditionResult]) -> dict:
    """Return the JSON values: the headline figures with standard errors, then every condition."""
    top: dict[str, Estimate] = {}
    for key, name, metric in (
        ("win_rate", "reno", "win_rate"),
        ("win_rate_best_of_n", "best_of_n", "win_rate"),
        ("win_rate_adapter_reno", "adapter_reno", "win_rate"),
        ("obedience", "reno", "obedience"),
        ("obedience_plain", "plain", "obedience"),
        ("hacking_fraction", "reno", "hacking_fraction"),
    ):
        if name in results:
            top[key] = results[name].estimates[metric]
    missing = dict.fromkeys((*PUBLISHED_REWARDS, "csd", "viper_published"), NOT_MEASURED)
    rows = {name: missing | {k: e.to_json() for k, e in row.estimates.items()} for name, row in results.items()}
    return {
        **{key: round(estimate.value, 5) for key, estimate in top.items()},
        "stderr": {key: round(estimate.stderr, 5) for key, estimate in top.items()},
        "rows": rows,
    }


def targets_met(results: dict[str, ConditionResult]) -> dict[str, bool]:
    """Return whether each measured target is met, by name."""
    rates = {name: row.estimates["win_rate"].value for name, row in results.items()}
    met = {}
    if "reno" in results:
        reno, plain = results["reno"].estimates, results["plain"].estimates
        met["wins"] = rates["reno"] >= MIN_WIN_RATE
        met["obedience"] = plain["obedience"].value - reno["obedience"].value <= MAX_LOSS
        met["hacking"] = reno["hacking_fraction"].value < MAX_HACKING
        if "best_of_n" in results:
            met["over_best_of_n"] = rates["reno"] > rates["best_of_n"]
            if "adapter_reno" in results:
                met["adapter_reno_over_both"] = rates["adapter_reno"] > max(rates["reno"], rates["best_of_n"])
    return met


def notes(results: dict[str, ConditionResult], judge_accuracy: float) -> list[str]:
    """Write one sentence for each finding. `judge_accuracy` is measured on rendered posters."""
    sentences = []
    if "reno" in results:
        reno, plain = results["reno"], results["plain"]
        win_rate, hacking = reno.estimates["win_rate"], reno.estimates["hacking_fraction"]
        sentences.append(f"Win rate of ReNO over plain pictures: {win_rate.text()} (target: {MIN_WIN_RATE}).")
        if "best_of_n" in results:
            gap = paired_difference(reno.wins, results["best_of_n"].wins)
            sentences.append(
                f"Win rate of ReNO minus that of best-of-N, with the same number of generated pictures: "
                f"{gap.text(sign=True)}, paired. ReNO additionally runs the backward pass."
            )
        if "adapter_reno" in results:
            gap = paired_difference(results["adapter_reno"].wins, reno.wins)
            from_plain = results["adapter_reno"].estimates["hacking_from_plain"]
            sentences.append(
                f"Win rate of adapter and ReNO together minus that of ReNO alone: {gap.text(sign=True)}, paired. "
                f"Compared with the plain picture, their score rose while true utility fell in {from_plain.text()}."
            )
        lost = paired_difference(reno.measured.subject_correct, plain.measured.subject_correct)
        sentences.append(
            f"Recognition of the prompted subject minus plain's: {lost.text(sign=True)}, paired (target: a loss of at "
            f"most {MAX_LOSS})."
        )
        sentences.append(
            f"The score rose while true utility fell in {hacking.text()} of the runs (target: below {MAX_HACKING})."
        )
    sentences.append(
        "Hacking compares each condition's own score and true utility with its baseline, plain or the adapter. Part of "
        "it is due to errors of the judge, whose accuracy on the attributes of rendered test posters is "
        f"{judge_accuracy:.3f}. The judge is not used in any training, reward or selection."
    )
    sentences.append(
        "The weight of CLIP applies to the cosine of the pocket CLIP. Published weights apply to CLIP's logit, the "
        "cosine times about 100."
    )
    if "reno_published" in results:
        sentences.append(
            "Published settings: the seed's own noise, learning rate 5, regulariser 0.01, 50 iterations, the score of "
            "the picture itself, preference 0.75, CLIP's cosine 1 (ReNO's 0.01 on the logit). The other published "
            "rewards are left out: their files are not available."
        )
    sentences.append(
        f"'{NOT_MEASURED}': the files of the published network were not available (--rewards and the Hugging Face "
        "cache), or are distributed only as pickles (CSD), which PrefGen does not load. Metrics of the pocket CLIP "
        "cannot be compared with published values."
    )
    return sentences
