"""What the rows come to: the tables, the figures of the JSON, and a sentence for each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prefgen.rewards import PUBLISHED_REWARDS
from train.evaluate.command import Table
from train.evaluate.pictures.evaluator import PictureMetrics
from train.evaluate.pictures.metrics import NOT_MEASURED, wins
from train.evaluate.reno.painting import Painted
from train.evaluate.reno.rows import EVERY
from train.evaluate.statistics import Estimate, mean_over_users, paired_difference

LEAST_WINS, MOST_LOST, MOST_HACKED = 0.85, 0.03, 0.15
"""What ReNO has to reach: wins over plain, the obedience that may be lost, and the runs whose score rose while true
utility fell."""


@dataclass(frozen=True)
class Found:
    """One row. plain: the same agents' plain pictures; base: what the row began with (its own, where it has no other).
    published: measures whose networks are at hand, (n, m) each."""

    painted: Painted
    measured: PictureMetrics
    plain: PictureMetrics
    base: PictureMetrics
    published: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def wins(self) -> np.ndarray:
        """Over plain, by true utility: (n, m), half for a tie."""
        return wins(self.measured.utility, self.plain.utility)

    @property
    def hacked(self) -> np.ndarray:
        """Whether the row's own score rose from its first picture while true utility fell: (n, m)."""
        return (self.painted.score > self.painted.first) & (self.measured.utility < self.base.utility)

    @property
    def hacked_from_plain(self) -> np.ndarray:
        """Whether PrefDisc's score is above the plain picture's and true utility below it, whatever the row began with:
        (n, m)."""
        return (self.measured.score > self.plain.score) & (self.measured.utility < self.plain.utility)

    @property
    def told(self) -> dict[str, Estimate]:
        """The estimates that every row has."""
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


def tables(found: dict[str, Found]) -> list[Table]:
    """Against plain, and method.md section 4's measures."""
    told = {name: row.told for name, row in found.items()}
    main = [
        (
            EVERY[name].label,
            "" if name == "plain" else row["win_rate"].text(),
            "" if name == "plain" else row["utility_over_plain"].text(2, sign=True),
            row["obedience"].text(),
            row["hacking_fraction"].text() if EVERY[name].score else "",
            row["score"].text(),
        )
        for name, row in told.items()
    ]
    columns = ("row", "wins over plain", "utility over plain", "obedience", "hacking", "PrefDisc score")
    seen = [
        (
            EVERY[name].label,
            *(row[what].text() for what in ("clip_text", "clip_img", "style")),
            *(row[what].text() if what in row else NOT_MEASURED for what in PUBLISHED_REWARDS),
            NOT_MEASURED,
            NOT_MEASURED,
        )
        for name, row in told.items()
    ]
    pocket = ("CLIP-Text (pocket CLIP)", "CLIP-Img (pocket CLIP)", "style (pocket CLIP)")
    published = (*(reward.title for reward in PUBLISHED_REWARDS.values()), "CSD", "ViPer (published)")
    return [Table("Wins", columns, main), Table("The papers' measures", ("row", *pocket, *published), seen)]


def figures(found: dict[str, Found]) -> dict:
    """The JSON: what has to be shown on top, with standard errors, then every row."""
    top: dict[str, Estimate] = {}
    for key, name, what in (
        ("win_rate", "reno", "win_rate"),
        ("win_rate_best_of_n", "best_of_n", "win_rate"),
        ("win_rate_adapter_reno", "adapter_reno", "win_rate"),
        ("obedience", "reno", "obedience"),
        ("obedience_plain", "plain", "obedience"),
        ("hacking_fraction", "reno", "hacking_fraction"),
    ):
        if name in found:
            top[key] = found[name].told[what]
    missing = dict.fromkeys((*PUBLISHED_REWARDS, "csd", "viper_published"), NOT_MEASURED)
    rows = {name: missing | {k: e.to_json() for k, e in row.told.items()} for name, row in found.items()}
    return {
        **{key: round(estimate.value, 5) for key, estimate in top.items()},
        "stderr": {key: round(estimate.stderr, 5) for key, estimate in top.items()},
        "rows": rows,
    }


def bars(found: dict[str, Found]) -> dict[str, bool]:
    """Which of the bars are met, of those that were measured."""
    rates = {name: row.told["win_rate"].value for name, row in found.items()}
    met = {}
    if "reno" in found:
        told = found["reno"].told
        met["wins"] = rates["reno"] >= LEAST_WINS
        met["obedience"] = found["plain"].told["obedience"].value - told["obedience"].value <= MOST_LOST
        met["hacking"] = told["hacking_fraction"].value < MOST_HACKED
        if "best_of_n" in found:
            met["over_best_of_n"] = rates["reno"] > rates["best_of_n"]
            if "adapter_reno" in found:
                met["adapter_reno_over_both"] = rates["adapter_reno"] > max(rates["reno"], rates["best_of_n"])
    return met


def notes(found: dict[str, Found], drawn: float) -> list[str]:
    """A sentence for each finding. drawn: the judge's share of right readings on drawn posters."""
    said = []
    if "reno" in found:
        reno, plain = found["reno"], found["plain"]
        told = reno.told
        said.append(
            f"ReNO's picture is of higher true utility than plain in {told['win_rate'].text()} (bar: "
            f"{LEAST_WINS}; a tie counts half)."
        )
        if "best_of_n" in found:
            gap = paired_difference(reno.wins, found["best_of_n"].wins)
            said.append(
                f"Wins more than best-of-N's at as many generator evaluations: {gap.text(sign=True)}, paired. "
                "ReNO also goes back through those that it climbs."
            )
        if "adapter_reno" in found:
            gap = paired_difference(found["adapter_reno"].wins, reno.wins)
            from_plain = found["adapter_reno"].told["hacking_from_plain"]
            said.append(
                f"Adapter and ReNO together win {gap.text(sign=True)} more often than ReNO alone, paired. Beside the "
                f"plain picture their score rose while true utility fell in {from_plain.text()}."
            )
        lost = paired_difference(reno.measured.subject_correct, plain.measured.subject_correct)
        said.append(f"Obedience less plain's: {lost.text(sign=True)}, paired (bar: at most {MOST_LOST} lost).")
        said.append(
            f"Score rose while true utility fell in {told['hacking_fraction'].text()} of the runs (bar: below "
            f"{MOST_HACKED})."
        )
    said.append(
        "Hacking is by each row's own score, from the picture of plain's noise: plain's, or the adapter's. Part of it "
        f"is the judge's misreading: it reads {drawn:.3f} of the attributes of drawn test posters right, and has no "
        "part in any training, reward or choice."
    )
    said.append(
        f"'{NOT_MEASURED}': the published network's files were not at hand (--rewards and the Hugging Face cache), or "
        "are given out as pickles only (CSD). The pocket CLIP's measures compare with nobody's figures."
    )
    return said
