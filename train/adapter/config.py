"""Settings for training the adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from train.loop import LoopConfig

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class AdapterTrainingConfig:
    """Settings for training the adapter. The defaults are our choice; the PrefGen paper gives none.

    Attributes:
        loop: Length and optimiser.
        batch: Number of users per step and process.
        user_dropout: Share of rows whose user tokens are set to zero, so that these rows train no weights. IP-Adapter
            instead drops 5 % of the embeddings before the token projection, so that the dropped rows train the bias of
            the projection.
        caption_dropout: Share of rows with an empty prompt (IP-Adapter: 0.05). Not used if `target` is "caption",
            because the user tokens would then learn what the prompt describes.
        shift: Timestep shift towards noise (Esser et al. 2024, equation 23). 1 is no shift.
        sem_tokens, core_tokens, img_tokens: Number of user tokens for each embedding part. 0 omits the part.
        hidden, fusion, core_aligned: See `AdapterConfig`. Only `train.pocket` trains the codebook fusion.
        start: Initial key and value projections. "text" copies the text projections, as IP-Adapter does. "zero" sets
            the value projections to zero.
        target: Target of the UNet's prediction. "image" uses the noise or velocity of the liked image. "caption" uses
            the UNet's own prediction for a full caption of that image (context distillation), and needs a caption for
            every pair.
        size: Side length of the square training images in pixels.
        seed: Random seed.
    """

    loop: LoopConfig
    batch: int = 8
    user_dropout: Share = 0.0
    caption_dropout: Share = 0.05
    shift: float = 1.0
    sem_tokens: int = 2
    core_tokens: int = 2
    img_tokens: int = 2
    hidden: Annotated[int, Field(ge=0)] = 0
    fusion: Literal["concatenation", "attention"] = "concatenation"
    core_aligned: bool = False
    start: Literal["text", "zero"] = "text"
    target: Literal["image", "caption"] = "image"
    size: int = 512
    seed: int = 61
