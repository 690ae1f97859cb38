"""What a training of the adapter is told."""

from __future__ import annotations

from dataclasses import dataclass

from prefgen.adapter.fusion import FUSIONS
from train.loop import LoopConfig
from train.settings import SettingsError, one_of


@dataclass(frozen=True)
class AdapterTraining:
    """One training. Defaults ours; PrefGen gives none.

    batch: users in a step, of one process. no_user: the share of the rows whose user tokens are dropped. IP-Adapter
    drops 0.05 before its token projection, whose bias learns from them; ours are dropped behind it, and nothing learns.
    no_caption: the share without a prompt (0.05 in IP-Adapter); none where a caption is the target, which would have a
    user's tokens say what the prompt is to say. shift: of the timesteps towards noise (Esser et al. 2024, equation 23);
    1 is none. sem_tokens, core_tokens, img_tokens: user tokens a part; 0 leaves it out. hidden, fusion, core_aligned:
    see AdapterConfig (of its fusions, "words" is not trained here). start: where keys and values begin, as the "text"'s
    own (as IP-Adapter's do) or values at "zero". target: what the UNet is to predict, the noise or velocity of the
    liked "image", or what it predicts itself with a full "caption" of it (context distillation; every pair of the set
    then needs a `caption`). size: of the training images (pixels).
    """

    loop: LoopConfig
    batch: int = 8
    no_user: float = 0.0
    no_caption: float = 0.05
    shift: float = 1.0
    sem_tokens: int = 2
    core_tokens: int = 2
    img_tokens: int = 2
    hidden: int = 0
    fusion: str = "concatenation"
    core_aligned: bool = False
    start: str = "text"
    target: str = "image"
    size: int = 512
    seed: int = 61

    def __post_init__(self) -> None:
        one_of("fusion", self.fusion, tuple(FUSIONS))
        one_of("start", self.start, ("text", "zero"))
        one_of("target", self.target, ("image", "caption"))
        for name in ("no_user", "no_caption"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected a share from 0 up to 1, without 1.")
        if self.hidden < 0:  # said here, before users are encoded
            raise SettingsError(f"hidden is {self.hidden}, expected 0 (no hidden layer) or a width above it.")
