"""A preference model that needs no checkpoint: the taste head on the embeddings of a CLIP image encoder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..history import History
from ..pocket.shapes import weights_path
from ..prefdisc.prefix_cache import PrefixCache
from ..safefile import fingerprint
from ..taste.scorer import EncodedTaste, ImageEncoder, TasteScorer
from ..validation import errors_as
from .file import Checkpoint
from .preference_model import POCKET, PreferenceModel

if TYPE_CHECKING:
    from ..embedding.image_tower import PublishedImageTower

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

        return self._tastes.get(self.scorer.digest(history), self.scorer.device, encode)

    def weighted_images(self, history: History, image_encoder: ImageEncoder | None = None) -> dict[str, Tensor]:
        """Return the mean embedding of the liked images and that of the disliked images, weighted by the head.

        Images that the other ratings already predict get a low weight; surprising ones get a high weight.

        Args:
            history: The ratings.
            image_encoder: Computes the embeddings; None uses those that the head was fitted to.

        Returns:
            `img` and `disliked_img`, each of shape (D,). A side without images is left out.
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


def load_clip_preference_model(
    folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> ClipPreferenceModel:
    """Create a preference model from a CLIP image encoder on disk. The network is not used.

    Args:
        folder: A CLIP model in transformers' format, or "pocket" for the bundled encoder.
        device: Device of the encoder.
        dtype: Dtype of the computation.

    Raises:
        CheckpointError: The folder contains no CLIP model that transformers can load.
    """
    from ..embedding.image_tower import load_image_tower

    if folder == POCKET:
        tower = load_image_tower(weights_path("clip_vision"))
        size = tower.model.config.image_size
    else:
        tower = load_clip_tower(Path(folder))
        size = tower.size
    tower = tower.to(device, dtype).requires_grad_(False).eval()
    return ClipPreferenceModel(str(folder), TasteScorer(tower, torch.device(device), dtype, size))


def load_clip_tower(folder: Path) -> PublishedImageTower:
    """Load the image encoder of a CLIP model in transformers' format. Raises CheckpointError."""
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    from ..embedding.image_tower import PublishedImageTower

    errors = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError)
    with errors_as(CheckpointError, f"{folder} cannot be loaded as a CLIP model", "Choose another folder.", errors):
        model = CLIPVisionModelWithProjection.from_pretrained(str(folder), local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(str(folder), local_files_only=True)
        return PublishedImageTower(model, model.config.image_size, processor.image_mean, processor.image_std)
