"""What the rows come to: the tables, the figures of the JSON, and a sentence for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefgen.adapter import PARTS
from train.data.agents import by_attribute
from train.evaluate.command import Table
from train.evaluate.generation.rows import EVERY, SWAPS
from train.evaluate.pictures.agents import Agents
from train.evaluate.pictures.measures import NOT_MEASURED, cmmd, frechet, wins
from train.evaluate.pictures.measuring import Measured
from train.evaluate.statistics import Estimate, bootstrap, over_users, paired

LEAST_WINS, LEAST_DROP, MOST_LOST, LEAST_DIVERSITY = 0.80, 0.20, 0.03, 0.80
"""What the shipped adapter has to reach: wins over plain, how far these fall with another's embedding, the obedience
that may be lost, and the share of plain's diversity that stays."""
MOVES = {
    "CLIP-Text, prompt": "clip_text",
    "CLIP-Text, favourites": "clip_favourites",
    "CLIP-Img": "clip_img",
    "style": "style",
    "utility": "utility",
}
"""What a swap may move: its name in the table, and in `Measured`."""


@dataclass(frozen=True)
class Found:
    """One row, beside plain on the same agents. agents: which ones, as indices of all. fid, cmmd: of the agents that
    every row has, in pocket CLIP's features; published: CMMD in a network of the person's own, where there is one."""

    agents: np.ndarray
    measured: Measured
    win: Estimate
    gain: Estimate
    obedience: Estimate
    diversity: Estimate
    pixels: Estimate
    fid: float
    cmmd: float
    published: float | None = None

    @property
    def told(self) -> dict[str, Estimate]:
        """The estimates that every row has."""
        measured = self.measured
        return {
            "win_rate": self.win,
            "utility_over_plain": self.gain,
            "obedience": self.obedience,
            "diversity_ratio": self.diversity,
            "pixel_diversity_ratio": self.pixels,
            "score": over_users(measured.score),
            "clip_img": over_users(measured.clip_img),
            "clip_text": over_users(measured.clip_text),
            "clip_favourites": over_users(measured.clip_favourites),
            "style": over_users(measured.style),
        }


def find(
    measured: Measured,
    plain: Measured,
    agents: np.ndarray,
    reference: np.ndarray,
    common: np.ndarray,
    rng: np.random.Generator,
) -> Found:
    """Compare a row with plain. plain: of the same agents. reference (k, D): embeddings of drawn posters. common: which
    of the row's agents every row has."""
    seen = measured.embedding[common].reshape(-1, measured.embedding.shape[-1])
    return Found(
        agents,
        measured,
        over_users(wins(measured.utility, plain.utility)),
        paired(measured.utility, plain.utility),
        over_users(measured.obeyed),
        bootstrap(np.divide, measured.diversity, plain.diversity, rng=rng),
        bootstrap(np.divide, measured.pixels, plain.pixels, rng=rng),
        frechet(seen, reference),
        cmmd(seen, reference),
    )


def tables(found: dict[str, Found]) -> list[Table]:
    """Against plain; PrefBench's; and the swaps, where they were painted."""
    main = [
        (
            EVERY[name].label,
            str(len(row.agents)),
            "" if name == "plain" else row.win.text(),
            "" if name == "plain" else row.gain.text(2, sign=True),
            row.obedience.text(),
            "" if name == "plain" else row.diversity.text(2),
            over_users(row.measured.score).text(),
        )
        for name, row in found.items()
    ]
    columns = ("row", "agents", "wins over plain", "utility over plain", "obedience", "diversity", "PrefDisc score")
    bench = [
        (
            EVERY[name].label,
            f"{row.fid:.2f}",
            f"{row.cmmd:.3f}",
            *(row.told[what].text() for what in ("clip_img", "clip_text", "clip_favourites", "style")),
            NOT_MEASURED,
            NOT_MEASURED if row.published is None else f"{row.published:.3f}",
            NOT_MEASURED,
        )
        for name, row in found.items()
    ]
    seen = ("FID", "CMMD", "CLIP-Img", "CLIP-Text, prompt", "CLIP-Text, favourites", "style")
    eyes = [f"{name} (pocket CLIP)" for name in seen]
    published = ("FID (Inception)", "CMMD (published CLIP)", "CSD")
    made = [Table("Wins", columns, main), Table("PrefBench's measures", ("row", *eyes, *published), bench)]
    swapped = swaps(found)
    if swapped:
        rows = [(part, *(estimate.text(sign=True) for estimate in moved.values())) for part, moved in swapped.items()]
        made.append(Table("Swaps: what moves when one part is another's", ("part", *MOVES), rows))
    return made


def swaps(found: dict[str, Found]) -> dict[str, dict[str, Estimate]]:
    """For each part that was exchanged, how much every one of `MOVES` differs from the full embedding's, paired."""
    moved = {}
    for part in PARTS:
        if "full" in found and SWAPS[part] in found:
            row, full = found[SWAPS[part]], found["full"]
            before = full.measured.some(np.flatnonzero(np.isin(full.agents, row.agents)))
            moved[part] = {
                told: paired(getattr(row.measured, name), getattr(before, name)) for told, name in MOVES.items()
            }
    return moved


def figures(found: dict[str, Found]) -> dict:
    """The JSON: what has to be shown on top, with standard errors, then every row."""
    top: dict[str, Estimate] = {}
    for key, name, what in (
        ("win_rate", "full", "win_rate"),
        ("win_rate_other_person", "other", "win_rate"),
        ("obedience", "full", "obedience"),
        ("obedience_plain", "plain", "obedience"),
        ("diversity_ratio", "full", "diversity_ratio"),
    ):
        if name in found:
            top[key] = found[name].told[what]
    rows = {
        name: {
            "agents": len(row.agents),
            **{what: estimate.to_json() for what, estimate in row.told.items()},
            "fid_pocket_clip": round(row.fid, 4),
            "cmmd_pocket_clip": round(row.cmmd, 4),
            "cmmd_published_clip": NOT_MEASURED if row.published is None else round(row.published, 4),
        }
        for name, row in found.items()
    }
    return {
        **{key: round(estimate.value, 5) for key, estimate in top.items()},
        "stderr": {key: round(estimate.stderr, 5) for key, estimate in top.items()},
        "rows": rows,
        "swaps": {p: {what: e.to_json() for what, e in moved.items()} for p, moved in swaps(found).items()},
    }


def bars(found: dict[str, Found]) -> dict[str, bool]:
    """Which of the bars are met, of those that were measured."""
    met = {}
    if "full" in found:
        full = found["full"]
        met["wins"] = full.win.value >= LEAST_WINS
        met["obedience"] = found["plain"].obedience.value - full.obedience.value <= MOST_LOST
        met["diversity"] = full.diversity.value >= LEAST_DIVERSITY
        if "other" in found:
            met["other_person"] = full.win.value - found["other"].win.value >= LEAST_DROP
    return met


def notes(found: dict[str, Found], drawn: float, agents: Agents) -> list[str]:
    """A sentence for each finding. drawn: the judge's share of right readings on drawn posters."""
    told = []
    if "full" in found:
        full, plain = found["full"], found["plain"]
        told.append(f"PrefGen's picture is of higher true utility than plain in {full.win.text()} (bar: {LEAST_WINS}).")
        if "other" in found:
            gap = paired(
                wins(full.measured.utility, plain.measured.utility),
                wins(found["other"].measured.utility, plain.measured.utility),
            )
            told.append(f"With another's embedding it wins {gap.text()} less often, paired (bar: {LEAST_DROP}).")
        lost = paired(full.measured.obeyed, plain.measured.obeyed)
        told.append(f"Obedience less plain's: {lost.text(sign=True)}, paired (bar: at most {MOST_LOST} lost).")
        told.append(
            f"Diversity across seeds is {full.diversity.text(2)} of plain's in CLIP's space (bar: {LEAST_DIVERSITY}), "
            f"{full.pixels.text(2)} in pixels."
        )
    told.append(
        f"The judge is a classifier trained on drawn posters alone, part of no training, reward or choice; it reads "
        f"{drawn:.3f} of the attributes of drawn test posters right."
    )
    if "written" in found:
        best = np.stack([part.argmax(1) for part in by_attribute(agents.utilities).values()], axis=1)
        same = over_users(found["written"].measured.read[..., 1:] == best[:, None])
        told.append(
            f"In the pictures whose prompts name every attribute it reads {same.text()} of them as asked for: what the "
            "painter misses and what the judge misreads, together."
        )
    told.append(
        "FID, CMMD, CLIP-Img, CLIP-Text and style are measured in the pocket CLIP, not in the published networks, and "
        "compare with nobody's figures. FID and CMMD are against drawn posters of the same subjects that the agents "
        "like, over the agents that every row has (FID falls with the number of pictures). Style is the cosine of "
        "means and deviations of early and middle patch states, in place of CSD."
    )
    if any(row.published is None for row in found.values()):
        told.append(
            f"'{NOT_MEASURED}': the published network's weights were not at hand (CLIP: --networks), or are given out "
            "as pickles only (FID's Inception, CSD), which nothing here reads."
        )
    return told
