"""Times the taste head: fitting one person's ratings, and scoring images with and without uncertainty.

    make python ARGS="-m benchmarks.taste"

Features are random vectors with the width of ViT-H's embeddings. The person's likes follow a logistic model of these
features. For comparison, scikit-learn's LogisticRegression is fitted to the same ratings in the same run, once with its
default penalty and once with a penalty chosen by cross-validation. Accuracies are measured on 10,000 unrated images.
The best possible accuracy is that of the true model. Times are medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from benchmarks.report import write_report
from prefgen.taste import FeatureScaling, Observations, fit_taste

LIMITS = {"fit_ms": 250.0, "mean_ms": 20.0, "uncertainty_ms": 1000.0}
TASTE_SCALE = 3.0
"""Standard deviation of the true logits."""


def draw_person(ratings: int, images: int, width: int, seed: int) -> dict[str, torch.Tensor]:
    """Draw features of rated and unrated images, and whether the person likes them.

    Image features of a real encoder vary mostly in a few directions, so the variance of direction i falls as 1 / i.
    """
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.arange(1, width + 1) ** -0.5
    features = torch.randn(ratings + images, width, generator=generator) * spectrum
    scaled = FeatureScaling.fit(features).apply(features)
    logits = scaled @ torch.randn(width, generator=generator)
    logits = logits * TASTE_SCALE / logits.std()
    likes = torch.bernoulli(torch.sigmoid(logits), generator=generator)
    return {
        "rated": features[:ratings],
        "likes": likes[:ratings],
        "images": features[ratings:],
        "image_likes": likes[ratings:],
        "image_logits": logits[ratings:],
    }


def median_ms(function: Callable[[], object], repeats: int) -> tuple[float, object]:
    """Return the median duration in milliseconds after a warm-up call, and the last result."""
    function()
    durations = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = function()
        durations.append(1000 * (time.perf_counter() - began))
    return round(median(durations), 1), result


def accuracy(logits: torch.Tensor, likes: torch.Tensor) -> float:
    """Return the share of images whose like or dislike is predicted correctly."""
    return round(float(((logits > 0) == likes.bool()).double().mean()), 4)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=1000)
    parser.add_argument("--images", type=int, default=10_000, help="number of images to score")
    parser.add_argument("--width", type=int, default=1024, help="width of the features")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    person = draw_person(arguments.ratings, arguments.images, arguments.width, arguments.seed)
    observations = Observations.from_singles(person["likes"])
    fit_ms, head = median_ms(lambda: fit_taste(person["rated"], observations), arguments.repeats)
    mean_ms, logits = median_ms(lambda: head.logits(person["images"]), arguments.repeats)
    uncertainty_ms, _ = median_ms(lambda: head.score(person["images"]), arguments.repeats)
    rated, likes = head.scaling.apply(person["rated"]).numpy(), person["likes"].numpy()
    images = head.scaling.apply(person["images"]).numpy()
    rows = {}
    peers = {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "LogisticRegressionCV": LogisticRegressionCV(Cs=5, max_iter=1000),
    }
    for name, peer in peers.items():
        peer_ms, peer = median_ms(lambda peer=peer: peer.fit(rated, likes), min(arguments.repeats, 3))
        peer_logits = torch.from_numpy(peer.decision_function(images))
        rows[name] = {"fit_ms": peer_ms, "accuracy": accuracy(peer_logits, person["image_likes"])}
    result = {
        "fit_ms": fit_ms,
        "mean_ms": mean_ms,
        "uncertainty_ms": uncertainty_ms,
        "accuracy": accuracy(logits, person["image_likes"]),
        "best_possible_accuracy": accuracy(person["image_logits"], person["image_likes"]),
        "scikit-learn": rows,
        "limits": LIMITS,
        "threads": torch.get_num_threads(),
    }
    write_report("taste", result | {"within_limits": all(result[name] <= limit for name, limit in LIMITS.items())})


if __name__ == "__main__":
    main()
