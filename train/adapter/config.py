"""Settings of an adapter training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from train.loop import LoopConfig

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class AdapterTrainingConfig:
    """Settings of an adapter training. The defaults are ours; the PrefGen paper gives none.

    Attributes:
        loop: Length and optimiser.
        batch: Users in a step of one process.
        user_dropout: Share of rows whose user tokens are set to zero. IP-Adapter drops 5 % before its token projection,
            whose bias then learns from them. We drop the tokens after the projection, so nothing learns from them.
        caption_dropout: Share of rows with an empty prompt (IP-Adapter: 0.05). Unused when `target` is "caption",
            because user tokens would then learn the content of the prompt.
        shift: Timestep shift towards noise (Esser et al. 2024, equation 23). 1 is no shift.
        sem_tokens, core_tokens, img_tokens: User tokens of each embedding part. 0 leaves the part out.
        hidden, fusion, core_aligned: See `AdapterConfig`. The codebook fusion is trained by `train.pocket` only.
        start: Initial keys and values: "text" copies the text projections, as IP-Adapter does; "zero" starts with
            values of zero.
        target: Target of the UNet's prediction: the noise or velocity of the liked "image", or the UNet's own
            prediction for a full "caption" of it (context distillation). "caption" needs a caption for every pair.
        size: Side of the square training images in pixels.
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
