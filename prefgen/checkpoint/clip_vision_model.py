"""A preference model that needs no checkpoint: the taste head on the embeddings of a CLIP image encoder."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from ..history import History
from ..prefdisc.prefix_cache import PrefixCache
from ..safefile import fingerprint
from ..taste.scorer import EncodedTaste, ImageEncoder, TasteScorer, ratings_digest
from .file import Checkpoint
from .preference_model import PreferenceModel

log = logging.getLogger(__name__)


class ClipPreferenceModel(PreferenceModel):
    """Scores images, and encodes the look of the liked and the disliked ones.

    Args:
        name: Name of the encoder in messages.
        scorer: The taste head on the encoder.
    """

    encodes_images_only = True
    scorer_part = "image_encoder"

    def __init__(self, name: str, scorer: TasteScorer) -> None:
        header = {"made_from": name}
        super().__init__(Checkpoint(header, {}, Path(name), fingerprint(header, {})))
        self._scorer = scorer
        self._tastes = PrefixCache()

    @property
    def scorer(self) -> TasteScorer:
        """The taste head on the encoder."""
        return self._scorer

    @property
    def encoder_fingerprint(self) -> str:
        """Identifies the encoder in user embeddings."""
        return self.name

    def encode_history(self, history: History) -> EncodedTaste:
        """Fit the head to all ratings of a history, or take it from the cache.

        Args:
            history: The ratings.

        Raises:
            HistoryError: Nothing is rated.
            ImageError: An image cannot be read.
        """

        def encode() -> EncodedTaste:
            taste = self.scorer.encode(history)
            log.info("PrefGen fitted the taste of %r to %d rated images.", history.name, taste.length)
            return taste

        return self._tastes.get(ratings_digest(history), self.scorer.device, encode)

    def weighted_images(self, history: History, image_encoder: ImageEncoder | None = None) -> dict[str, Tensor]:
        """Return the mean embeddings of liked and of disliked images, weighted by the head.

        An image that the other ratings explain gets little weight; one that surprises gets much.

        Args:
            history: The ratings.
            image_encoder: Computes the embeddings; None uses those that the head was fitted to.

        Returns:
            `img` and `disliked_img`, (D,), where there are such images.
        """
        if not history.ratings:
            return {}
        taste = self.encode_history(history)
        embeddings = taste.features
        if image_encoder is not None:
            rated = {image.image: image for image in history.ratings}.values()
            embeddings = torch.cat([image_encoder(image.read()[None]) for image in rated]).float().cpu()
        weights = taste.head.image_weights.float()
        sides = {"img": weights.clamp_min(0), "disliked_img": (-weights).clamp_min(0)}
        return {part: (side / side.sum()) @ embeddings for part, side in sides.items() if side.sum() > 0}
