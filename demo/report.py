"""Reports the demo: PrefDisc scores, and true utilities from the attributes that the judge predicts."""

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
    """Compute each picture's true utility for each person, from the attributes that the judge predicts.

    The judge is a classifier trained on rendered posters only; nothing is trained or optimised with it.
    """
    from train.data.agents import load_person
    from train.evaluate.judge import load_judge

    agents = {person: load_person(person) for person in people}
    pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures.values()])
    predictions = load_judge().predict(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return {
        (spec, person): float(agents[person].utility(attributes))
        for spec, attributes in zip(pictures, predictions, strict=True)
        for person in people
    }


def report_rows(
    scores: dict[tuple[PictureSpec, str], float], utilities: dict[tuple[PictureSpec, str], float], folder: str = ""
) -> list[dict]:
    """Build the `scores` list of report.json. `folder` is prepended to the file names."""
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
    """Average by method, for the person a picture was generated for ("right") and for the other person ("wrong").

    Plain pictures are not generated for a person, so both columns contain their mean over all people.
    """
    groups = defaultdict(list)
    for row in report_rows:
        right = row["for"] in (None, row["scored_for"])
        wrong = row["for"] is None or not right
        for column in ("right",) * right + ("wrong",) * wrong:
            groups[row["method"], column].append(row)
    return {
        method: {
            column: {
                measure: round(mean(row[measure] for row in groups[method, column]), 4)
                for measure in ("score", "true_utility")
            }
            for column in ("right", "wrong")
        }
        for method in METHODS
        if (method, "right") in groups
    }


def print_table(means: dict, write: Callable[[str], None]) -> None:
    """Print the summary as a table."""
    write(f"{'':12}{'score':^18}{'true utility':^18}")
    write(f"{'method':12}{'right':>8} {'wrong':>8} {'right':>9} {'wrong':>8}")
    for method, columns in means.items():
        right, wrong = columns["right"], columns["wrong"]
        write(
            f"{method:12}{right['score']:8.3f} {wrong['score']:8.3f} "
            f"{right['true_utility']:+9.2f} {wrong['true_utility']:+8.2f}"
        )
