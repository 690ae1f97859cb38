"""Builds the report of the generation command: tables, JSON values, targets and notes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefgen.adapter import PARTS
from train.data.agents import by_attribute
from train.evaluate.command import Table
from train.evaluate.generation.conditions import ALL_CONDITIONS, SWAPS
from train.evaluate.pictures.agents import Agents
from train.evaluate.pictures.evaluator import PictureMetrics
from train.evaluate.pictures.metrics import NOT_MEASURED, cmmd, frechet, wins
from train.evaluate.statistics import Estimate, bootstrap, mean_over_users, paired_difference

MIN_WIN_RATE, MIN_DROP, MAX_LOSS, MIN_DIVERSITY = 0.80, 0.20, 0.03, 0.80
"""Targets of the shipped adapter: win rate over plain, its drop with another agent's embedding, the largest loss of
prompt adherence, and the diversity as a share of plain's."""
SWAP_METRICS = {
    "CLIP-Text, prompt": "clip_text",
    "CLIP-Text, favourites": "clip_favourites",
    "CLIP-Img": "clip_img",
    "style": "style",
    "utility": "utility",
}
"""Metrics of the swap table: column heading -> field of `PictureMetrics`."""


@dataclass(frozen=True)
class ConditionResult:
    """Results of one condition, compared with plain pictures of the same agents.

    Attributes:
        agents: Indices of the agents.
        measured: Metrics of the pictures.
        win: Win rate over plain by true utility.
        gain: True utility minus plain's.
        obedience: Share of pictures in which the judge recognises the prompted subject.
        diversity: CLIP diversity as a share of plain's.
        pixel_diversity: Pixel diversity as a share of plain's.
        fid: Frechet distance in pocket CLIP features, for the agents that all conditions share.
        cmmd: CMMD in pocket CLIP features, for the same agents.
        published: CMMD with a published CLIP, or None.
    """

    agents: np.ndarray
    measured: PictureMetrics
    win: Estimate
    gain: Estimate
    obedience: Estimate
    diversity: Estimate
    pixel_diversity: Estimate
    fid: float
    cmmd: float
    published: float | None = None

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Return the estimates that are reported for every condition."""
        measured = self.measured
        return {
            "win_rate": self.win,
            "utility_over_plain": self.gain,
            "obedience": self.obedience,
            "diversity_ratio": self.diversity,
            "pixel_diversity_ratio": self.pixel_diversity,
            "score": mean_over_users(measured.score),
            "clip_img": mean_over_users(measured.clip_img),
            "clip_text": mean_over_users(measured.clip_text),
            "clip_favourites": mean_over_users(measured.clip_favourites),
            "style": mean_over_users(measured.style),
        }


def compare_with_plain(
    measured: PictureMetrics,
    plain: PictureMetrics,
    agents: np.ndarray,
    reference: np.ndarray,
    common: np.ndarray,
    rng: np.random.Generator,
) -> ConditionResult:
    """Compare the pictures of a condition with plain pictures.

    Args:
        measured: Metrics of the condition.
        plain: Metrics of the plain pictures of the same agents.
        agents: Indices of the agents.
        reference: CLIP embeddings of rendered posters that the agents like, (k, D).
        common: Positions in `agents` of the agents that all conditions share.
        rng: Generator for the bootstrap.
    """
    embeddings = measured.embedding[common].reshape(-1, measured.embedding.shape[-1])
    return ConditionResult(
        agents,
        measured,
        mean_over_users(wins(measured.utility, plain.utility)),
        paired_difference(measured.utility, plain.utility),
        mean_over_users(measured.subject_correct),
        bootstrap(np.divide, measured.diversity, plain.diversity, rng=rng),
        bootstrap(np.divide, measured.pixel_diversity, plain.pixel_diversity, rng=rng),
        frechet(embeddings, reference),
        cmmd(embeddings, reference),
    )


def tables(results: dict[str, ConditionResult]) -> list[Table]:
    """Build the tables: win rates over plain, PrefBench metrics, and swaps if they were generated."""
    main = [
        (
            ALL_CONDITIONS[name].label,
            str(len(row.agents)),
            "" if name == "plain" else row.win.text(),
            "" if name == "plain" else row.gain.text(2, sign=True),
            row.obedience.text(),
            "" if name == "plain" else row.diversity.text(2),
            mean_over_users(row.measured.score).text(),
        )
        for name, row in results.items()
    ]
    columns = (
        "condition",
        "agents",
        "win rate over plain",
        "utility gain over plain",
        "subject recognised",
        "diversity",
        "PrefDisc score",
    )
    bench = [
        (
            ALL_CONDITIONS[name].label,
            f"{row.fid:.2f}",
            f"{row.cmmd:.3f}",
            *(row.estimates[what].text() for what in ("clip_img", "clip_text", "clip_favourites", "style")),
            NOT_MEASURED,
            NOT_MEASURED if row.published is None else f"{row.published:.3f}",
            NOT_MEASURED,
        )
        for name, row in results.items()
    ]
    pocket_metrics = ("FID", "CMMD", "CLIP-Img", "CLIP-Text, prompt", "CLIP-Text, favourites", "style")
    pocket_columns = [f"{name} (pocket CLIP)" for name in pocket_metrics]
    published = ("FID (Inception)", "CMMD (published CLIP)", "CSD")
    result = [
        Table("Win rates", columns, main),
        Table("PrefBench metrics", ("condition", *pocket_columns, *published), bench),
    ]
    swapped = swaps(results)
    if swapped:
        rows = [(part, *(estimate.text(sign=True) for estimate in change.values())) for part, change in swapped.items()]
        result.append(Table("Swaps: change when one part comes from another agent", ("part", *SWAP_METRICS), rows))
    return result


def swaps(results: dict[str, ConditionResult]) -> dict[str, dict[str, Estimate]]:
    """Compute the paired change of each metric when one part of the embedding is another agent's."""
    changes = {}
    for part in PARTS:
        if "full" in results and SWAPS[part] in results:
            row, full = results[SWAPS[part]], results["full"]
            before = full.measured.select(np.flatnonzero(np.isin(full.agents, row.agents)))
            changes[part] = {
                label: paired_difference(getattr(row.measured, name), getattr(before, name))
                for label, name in SWAP_METRICS.items()
            }
    return changes


def figures(results: dict[str, ConditionResult]) -> dict:
    """Build the JSON values: the main estimates with standard errors, then every condition."""
    top: dict[str, Estimate] = {}
    for key, name, what in (
        ("win_rate", "full", "win_rate"),
        ("win_rate_other_person", "other", "win_rate"),
        ("obedience", "full", "obedience"),
        ("obedience_plain", "plain", "obedience"),
        ("diversity_ratio", "full", "diversity_ratio"),
    ):
        if name in results:
            top[key] = results[name].estimates[what]
    rows = {
        name: {
            "agents": len(row.agents),
            **{what: estimate.to_json() for what, estimate in row.estimates.items()},
            "fid_pocket_clip": round(row.fid, 4),
            "cmmd_pocket_clip": round(row.cmmd, 4),
            "cmmd_published_clip": NOT_MEASURED if row.published is None else round(row.published, 4),
        }
        for name, row in results.items()
    }
    return {
        **{key: round(estimate.value, 5) for key, estimate in top.items()},
        "stderr": {key: round(estimate.stderr, 5) for key, estimate in top.items()},
        "rows": rows,
        "swaps": {p: {what: e.to_json() for what, e in change.items()} for p, change in swaps(results).items()},
    }


def targets_met(results: dict[str, ConditionResult]) -> dict[str, bool]:
    """Return whether each measured target is met, by name."""
    met = {}
    if "full" in results:
        full = results["full"]
        met["wins"] = full.win.value >= MIN_WIN_RATE
        met["obedience"] = results["plain"].obedience.value - full.obedience.value <= MAX_LOSS
        met["diversity"] = full.diversity.value >= MIN_DIVERSITY
        if "other" in results:
            met["other_person"] = full.win.value - results["other"].win.value >= MIN_DROP
    return met


def notes(results: dict[str, ConditionResult], judge_accuracy: float, agents: Agents) -> list[str]:
    """Write one sentence for each finding. `judge_accuracy` is measured on rendered posters."""
    sentences = []
    if "full" in results:
        full, plain = results["full"], results["plain"]
        sentences.append(f"Win rate of PrefGen over plain pictures: {full.win.text()} (target: {MIN_WIN_RATE}).")
        if "other" in results:
            gap = paired_difference(
                wins(full.measured.utility, plain.measured.utility),
                wins(results["other"].measured.utility, plain.measured.utility),
            )
            sentences.append(
                f"Drop of the win rate with another agent's embedding: {gap.text()}, paired (target: {MIN_DROP})."
            )
        lost = paired_difference(full.measured.subject_correct, plain.measured.subject_correct)
        sentences.append(
            f"Recognition of the prompted subject minus plain's: {lost.text(sign=True)}, paired (target: a loss of at "
            f"most {MAX_LOSS})."
        )
        sentences.append(
            f"Diversity across seeds as a share of plain's: {full.diversity.text(2)} in CLIP space (target: "
            f"{MIN_DIVERSITY}), {full.pixel_diversity.text(2)} in pixel space."
        )
    sentences.append(
        "The judge is a classifier trained on rendered posters only. It is not used in any training, reward or "
        f"selection. Its accuracy on the attributes of rendered test posters is {judge_accuracy:.3f}."
    )
    if "written" in results:
        best = np.stack([part.argmax(1) for part in by_attribute(agents.utilities).values()], axis=1)
        same = mean_over_users(results["written"].measured.attributes[..., 1:] == best[:, None])
        sentences.append(
            f"With prompts that name every attribute, it predicts {same.text()} of the attributes as prompted; the "
            "rest are errors of the generator and of the judge together."
        )
    sentences.append(
        "FID, CMMD, CLIP-Img, CLIP-Text and style use the pocket CLIP instead of the published networks, so they "
        "cannot be compared with published values. FID and CMMD compare with rendered posters of the same subjects "
        "that the agents like, for the agents that all conditions share (FID decreases with the number of pictures). "
        "Style is the cosine of the means and standard deviations of early and middle patch features, in place of CSD."
    )
    if any(row.published is None for row in results.values()):
        sentences.append(
            f"'{NOT_MEASURED}': the weights of the published network were not available (CLIP: --networks), or are "
            "distributed only as pickles (FID's Inception, CSD), which PrefGen does not load."
        )
    return sentences
