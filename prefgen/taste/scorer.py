"""Scores images by the taste head on the embeddings of any image encoder. It takes PrefDisc's place."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import HistoryError
from ..history import History, RatedImage
from ..validation import require
from .head import TasteConfig, TasteHead, fit_taste
from .observations import rating_observations

CHUNK_SIZE = 16
"""Number of images per forward pass of the encoder. The number is our choice."""

MAX_CACHED_FEATURES = 20_000
"""Images whose features are kept: 80 MB for ViT-H."""

ImageEncoder = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) in [0, 1] -> features (B, D). Differentiable where gradients are enabled."""


@dataclass(frozen=True)
class EncodedTaste:
    """A person's fitted taste, in place of a history prefix.

    Attributes:
        head: The posterior.
        features: Features of the rated images, (N, D).
        length: Number of rated images.
    """

    head: TasteHead
    features: Tensor
    length: int

    @property
    def nbytes(self) -> int:
        """Size of the features."""
        return self.features.nbytes

    def to(self, device: torch.device | str) -> EncodedTaste:
        """Return the taste itself: it moves to the device of the images that it scores."""
        return self


class TasteScorer:
    """Scores images for one person by a Bayesian preference model of their features.

    The prompt is not used.

    Args:
        encoder: Computes the features of images.
        device: Device of the encoder.
        dtype: Dtype in which the encoder computes.
        image_size: Side of the encoder's pixels, for the estimate of its memory.
        config: Settings of the head.
        progress: Called with the number of rated images to encode. Returns a function that is called with the number of
            images that were encoded since its last call.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        image_size: int = 224,
        config: TasteConfig | None = None,
        progress: Callable[[int], Callable[[int], object]] = lambda total: lambda count: None,
    ) -> None:
        self.encoder = encoder
        self.device = device
        self.dtype = dtype
        self.image_size = image_size
        self.config = config
        self.progress = progress
        self._features: OrderedDict[str, Tensor] = OrderedDict()

    spec = None
    """PrefDisc's configuration in its place; there is none."""

    def digest(self, history: History) -> str:
        """Return the digest of everything that `encode` depends on: all ratings."""
        return ratings_digest(history)

    def working_bytes(self, images: int) -> int:
        """Estimate the memory that encoding images needs in addition to the weights. Our choice."""
        return 64 * min(images, CHUNK_SIZE) * self.image_size**2 * self.dtype.itemsize

    def encode(self, history: History) -> EncodedTaste:
        """Fit the head to all ratings of a history. Features of images that were encoded before are reused.

        Args:
            history: The ratings.

        Raises:
            HistoryError: Nothing is rated.
            ImageError: An image cannot be read, or its features are NaN or infinite.
        """
        rated = list({image.image: image for image in history.ratings}.values())
        require(rated, HistoryError, f"{history.name} has no rated images; expected at least one.")
        with torch.inference_mode(False), torch.no_grad():
            features = self.features(rated)
            indices = {image.image: index for index, image in enumerate(rated)}
            observations = rating_observations(history.ratings, indices, history.half_life_days)
            head = fit_taste(features, observations, config=self.config)
        return EncodedTaste(head, features, len(rated))

    def features(self, rated: Sequence[RatedImage]) -> Tensor:
        """Return the features of rated images, (N, D), in float32 on the CPU."""
        missing = [image for image in rated if image.image not in self._features]
        report = self.progress(len(missing)) if missing else None
        for start in range(0, len(missing), CHUNK_SIZE):
            chunk = missing[start : start + CHUNK_SIZE]
            by_size: dict[tuple[int, ...], list[tuple[str, Tensor]]] = defaultdict(list)
            for image in chunk:
                pixels = image.read()
                by_size[tuple(pixels.shape)].append((image.image, pixels))
            for images in by_size.values():
                encoded = self.encoder(torch.stack([pixels for _, pixels in images]).to(self.device))
                self._features |= zip((digest for digest, _ in images), encoded.float().cpu(), strict=True)
            report(len(chunk))
        features = torch.stack([self._features[image.image] for image in rated])
        for image in rated:
            self._features.move_to_end(image.image)
        while len(self._features) > MAX_CACHED_FEATURES:
            self._features.popitem(last=False)
        return features

    def cross_validate(self, ratings: Sequence[RatedImage], folds: int = 5) -> dict[str, float]:
        """Score rated images by heads that were fitted without them.

        Args:
            ratings: All ratings of a person, one per image.
            folds: Number of folds over the images; fewer for fewer images.

        Returns:
            The probability of liking each image, by its digest. Empty for a single rating.
        """
        with torch.inference_mode(False), torch.no_grad():
            features = self.features(ratings)
            scores: dict[str, float] = {}
            for fold in range(min(folds, len(ratings))):
                held_out = list(range(fold, len(ratings), folds))
                known = [index for index in range(len(ratings)) if index % folds != fold]
                if not known:
                    continue
                indices = {ratings[index].image: place for place, index in enumerate(known)}
                observations = rating_observations([ratings[index] for index in known], indices)
                head = fit_taste(features[known], observations, config=self.config)
                probabilities = head.score(features[held_out]).tolist()
                scores |= zip((ratings[index].image for index in held_out), probabilities, strict=True)
        return {rating.image: scores[rating.image] for rating in ratings if rating.image in scores}

    def logits(self, taste: EncodedTaste, images: Tensor, prompts: str | Sequence[str] = "") -> Tensor:
        """Compute logits of liking and disliking candidates, whose softmax is the score. Differentiable in `images`.

        Args:
            taste: The person.
            images: Candidates (B, 3, H, W) in [0, 1].
            prompts: Not used.

        Returns:
            Logits (B, 2).
        """
        features = self.encoder(images.to(self.device)).float()
        margins = taste.head.logits(features) / (1 + math.pi / 8 * taste.head.variance(features)).sqrt()
        return torch.stack([margins, -margins], dim=-1) / 2

    def score(self, taste: EncodedTaste, images: Tensor, prompts: str | Sequence[str] = "") -> Tensor:
        """Compute the probability (B,) that the person likes each candidate. Takes what `logits` takes."""
        return self.logits(taste, images, prompts).softmax(-1)[:, 0]


def ratings_digest(history: History) -> str:
    """Return the sha256 (hex) of all ratings: images, likes, prompts and times."""
    digest = hashlib.sha256(f"{history.half_life_days} {history.name}".encode())
    for rating in history.ratings:
        digest.update(repr((rating.image, rating.liked, rating.prompt, rating.time)).encode())
    return digest.hexdigest()
