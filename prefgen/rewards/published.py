"""The published general rewards by name: from a person's own files to a reward of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import RewardError
from .clip import load_clip, load_hps, load_pickscore
from .files import WEIGHTS, find_files
from .single import VOCABULARY, load_aesthetic, load_image_reward


class RewardModel(Protocol):
    """A reward's weights: an nn.Module that reads prompts once, and then judges images of them."""

    def read(self, prompts: list[str]) -> Tensor:
        """What is needed of the prompts, a row each (P, ...)."""

    def __call__(self, images: Tensor, texts: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] and what was read of their prompts (B, ...) -> (B,)."""


@dataclass(frozen=True)
class Published:
    """How a reward is loaded. title: its name in the literature. files: each with the Hub ids whose cached copies serve
    (safetensors only: a pickle is never read)."""

    title: str
    load: Callable[[Mapping[str, Path]], Any]
    files: Mapping[str, Sequence[str]]


PUBLISHED: Mapping[str, Published] = {
    "clip": Published(
        "CLIP", load_clip, {WEIGHTS: ("RE-N-Y/clipscore-vit-large-patch14", "openai/clip-vit-large-patch14")}
    ),
    "aesthetic": Published("LAION aesthetic", load_aesthetic, {WEIGHTS: ("RE-N-Y/laion-aesthetic",)}),
    "pickscore": Published("PickScore", load_pickscore, {WEIGHTS: ("RE-N-Y/pickscore", "yuvalkirstain/PickScore_v1")}),
    "hps": Published("HPSv2.1", load_hps, {WEIGHTS: ("RE-N-Y/hpsv21",)}),
    "image_reward": Published(
        "ImageReward",
        load_image_reward,
        {
            WEIGHTS: ("RE-N-Y/ImageReward",),
            VOCABULARY: ("google-bert/bert-base-uncased", "bert-base-uncased"),
        },
    ),
}
"""Weights by default: `PAPER_WEIGHTS`, under the same names."""


def load_reward_model(
    name: str, folders: Sequence[Path], dtype: torch.dtype = torch.float32, cache: Path | None = None
) -> RewardModel:
    """A published reward of `PUBLISHED`, frozen, on the CPU; see `find_files` for `folders` and `cache`.

    Raises RewardError: an unknown name; a file that is missing, unreadable or of another model; imscore not installed.
    """
    if name not in PUBLISHED:
        raise RewardError(f"There is no reward {name!r}; expected one of {', '.join(PUBLISHED)}.")
    wanted = PUBLISHED[name]
    files = find_files(name, wanted.files, folders, cache)
    # Ordinary tensors even where the caller runs in inference mode: gradients go through these weights.
    with torch.inference_mode(False):
        try:
            model = wanted.load(files)
        except ImportError as error:
            raise RewardError(
                f"{wanted.title} needs a package that is not installed ({error.name}): pip install imscore."
            ) from error
        return model.to(dtype).requires_grad_(False).eval()


@dataclass(frozen=True)
class PublishedReward:
    """A reward model for one prompt, or for as many as there are images; they are read here, and only once."""

    model: RewardModel
    prompt: str | Sequence[str] = ""
    texts: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        prompts = [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)
        with torch.inference_mode(False), torch.no_grad():
            object.__setattr__(self, "texts", self.model.read(prompts))

    def __call__(self, images: Tensor) -> Tensor:
        texts = self.texts.expand(len(images), -1) if len(self.texts) == 1 else self.texts
        if len(texts) != len(images):
            raise RewardError(f"There are {len(texts)} prompts for {len(images)} images: give one, or one each.")
        return self.model(images, texts)
