"""The published rewards by name, and how they are loaded from local files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RewardError
from ..validation import require_choice
from .aesthetic import load_aesthetic
from .base import RewardModel
from .clip_score import load_clip_score
from .files import WEIGHTS, find_files
from .hps import load_hps
from .image_reward import VOCABULARY, load_image_reward
from .pickscore import load_pickscore


@dataclass(frozen=True)
class PublishedRewardSpec:
    """Description of a published reward and its files.

    Attributes:
        title: Name in the literature.
        load: Creates the model from paths by file name.
        files: File names, each with the Hub ids whose cached copies serve. Pickles are never read.
    """

    title: str
    load: Callable[[Mapping[str, Path]], Any]
    files: Mapping[str, Sequence[str]]


PUBLISHED_REWARDS: Mapping[str, PublishedRewardSpec] = {
    "clip": PublishedRewardSpec(
        "CLIP",
        load_clip_score,
        {
            WEIGHTS: (
                "RE-N-Y/clipscore-vit-large-patch14",
                "openai/clip-vit-large-patch14",
                "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
            )
        },
    ),
    "aesthetic": PublishedRewardSpec("LAION aesthetic", load_aesthetic, {WEIGHTS: ("RE-N-Y/laion-aesthetic",)}),
    "pickscore": PublishedRewardSpec(
        "PickScore", load_pickscore, {WEIGHTS: ("RE-N-Y/pickscore", "yuvalkirstain/PickScore_v1")}
    ),
    "hps": PublishedRewardSpec("HPSv2.1", load_hps, {WEIGHTS: ("RE-N-Y/hpsv21",)}),
    "image_reward": PublishedRewardSpec(
        "ImageReward",
        load_image_reward,
        {WEIGHTS: ("RE-N-Y/ImageReward",), VOCABULARY: ("google-bert/bert-base-uncased", "bert-base-uncased")},
    ),
}
"""The published rewards. `PAPER_WEIGHTS` has their weights under the same names."""


def load_reward_model(
    name: str, folders: Sequence[Path], dtype: torch.dtype = torch.float32, cache: Path | None = None
) -> RewardModel:
    """Load a published reward, frozen, on the CPU.

    Args:
        name: A name of `PUBLISHED_REWARDS`.
        folders: Folders with a subfolder for each reward.
        dtype: Type of the weights.
        cache: The Hugging Face cache; None for its default location.

    Raises:
        RewardError: The name is unknown, a file is missing or invalid, or imscore is not installed.
    """
    require_choice("The reward", name, PUBLISHED_REWARDS, RewardError)
    spec = PUBLISHED_REWARDS[name]
    files = find_files(name, spec.files, folders, cache)
    # Gradients pass through these weights, so they must be ordinary tensors even when the caller is in inference mode.
    with torch.inference_mode(False):
        try:
            model = spec.load(files)
        except ImportError as error:
            package = "open_clip_torch" if error.name == "open_clip" else "imscore"
            raise RewardError(f"{spec.title} needs the package {package}. Run pip install {package}.") from error
        return model.to(dtype).requires_grad_(False).eval()


@dataclass(frozen=True)
class PublishedReward:
    """A reward model with one prompt for all images, or one for each image. The prompts are encoded once.

    Attributes:
        model: The reward model.
        prompt: The prompt or prompts.
        texts: The encoded prompts, (P, ...).
    """

    model: RewardModel
    prompt: str | Sequence[str] = ""
    texts: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        prompts = [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)
        with torch.inference_mode(False), torch.no_grad():
            object.__setattr__(self, "texts", self.model.encode_prompts(prompts))

    def __call__(self, images: Tensor) -> Tensor:
        """Return the rewards of images (B, 3, H, W) in [0, 1], as (B,)."""
        texts = self.texts.expand(len(images), -1) if len(self.texts) == 1 else self.texts
        if len(texts) != len(images):
            raise RewardError(f"There are {len(texts)} prompts for {len(images)} images; expected one prompt for each.")
        return self.model(images, texts)
