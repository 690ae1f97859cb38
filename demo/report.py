"""From pictures to numbers: what PrefDisc says, what the judge reads, and what the person's utility makes of it."""

from collections import defaultdict
from collections.abc import Callable
from statistics import mean

import numpy as np
import torch
from PIL import Image

from demo.config import PictureSpec

METHODS = ("plain", "adapter", "plain_reno", "reno")


def true_utilities(
    pictures: dict[PictureSpec, Image.Image], people: tuple[str, ...]
) -> dict[tuple[PictureSpec, str], float]:
    """Each picture's utility for each person: the person's utility function on the attributes that the judge reads.

    The judge is a classifier trained on drawn posters only; nothing is trained or optimised against it.
    """
    from train.data.agents import load_person
    from train.evaluate.judge import load_judge

    agents = {person: load_person(person) for person in people}
    pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures.values()])
    read = load_judge().predict(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return {
        (spec, person): float(agents[person].utility(attributes))
        for spec, attributes in zip(pictures, read, strict=True)
        for person in people
    }


def report_rows(
    scores: dict[tuple[PictureSpec, str], float], utilities: dict[tuple[PictureSpec, str], float], folder: str = ""
) -> list[dict]:
    """The `scores` list of report.json; `folder` goes before the pictures' names."""
    return [
        {
            "prompt": spec.prompt,
            "method": spec.method,
            "for": spec.person,
            "scored_for": person,
            "score": round(score, 4),
            "true_utility": round(utilities[spec, person], 4),
            "image": f"{folder}{spec.file}",
        }
        for (spec, person), score in scores.items()
    ]


def summary(report_rows: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Means by method, for the person a picture was made for ("right") and for the other ("wrong").

    Plain pictures are made for nobody: both columns hold their mean over all people.
    """
    kept = defaultdict(list)
    for row in report_rows:
        right = row["for"] in (None, row["scored_for"])
        wrong = row["for"] is None or not right
        for column in ("right",) * right + ("wrong",) * wrong:
            kept[row["method"], column].append(row)
    return {
        method: {
            column: {
                measure: round(mean(row[measure] for row in kept[method, column]), 4)
                for measure in ("score", "true_utility")
            }
            for column in ("right", "wrong")
        }
        for method in METHODS
        if (method, "right") in kept
    }


def print_table(means: dict, write: Callable[[str], None]) -> None:
    """The summary for people."""
    write(f"{'':12}{'score':^18}{'true utility':^18}")
    write(f"{'method':12}{'right':>8} {'wrong':>8} {'right':>9} {'wrong':>8}")
    for method, columns in means.items():
        right, wrong = columns["right"], columns["wrong"]
        write(
            f"{method:12}{right['score']:8.3f} {wrong['score']:8.3f} "
            f"{right['true_utility']:+9.2f} {wrong['true_utility']:+8.2f}"
        )
