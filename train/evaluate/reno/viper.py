"""The ViPer-like model: the ablation's `base` variant (no prompts, no contrastive loss, no preference tokens)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors.torch import load_file, save_file

from prefgen.checkpoint.preference_model import POCKET, load_preference_model
from prefgen.prefdisc.model import PrefDisc
from train.evaluate.prefdisc_variants import STEPS
from train.pocket.prefdisc import variants
from train.pocket.prefdisc.architecture import new_prefdisc
from train.pocket.prefdisc.decoder_training import DecoderConfig

NAME = "viper"
POSTERS = 12_000


@dataclass(frozen=True)
class Viper:
    """Where it is trained and for how long: as the ablation's variants, with the shipped model's eyes. users: in a
    batch."""

    folder: Path
    steps: int = STEPS
    posters: int = POSTERS
    users: int = DecoderConfig.users
    seed: int = 0

    def prefdisc(self) -> PrefDisc:
        """Frozen; trained where it is not there yet."""
        found = new_prefdisc(variants.VARIANTS[NAME].num_tokens)
        found.load_state_dict(load_file(self._trained()))
        return found.requires_grad_(False).eval()

    @cached_property
    def fingerprint(self) -> str:
        """Of its weights; trained where they are not there yet."""
        return hashlib.sha256(self._trained().read_bytes()).hexdigest()

    def _trained(self) -> Path:
        """The weights' file; a training that was killed goes on where it was."""
        if not self.file.exists():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            eyes = variants.load_shipped_vision(self.file.parent, self.posters)
            trained = variants.train_variant(NAME, self.seed, self.file.parent, self.steps, *eyes, users=self.users)
            beside = self.file.with_suffix(".tmp")
            save_file({name: tensor.detach().cpu().clone() for name, tensor in trained.state_dict().items()}, beside)
            beside.replace(self.file)
        return self.file

    @property
    def file(self) -> Path:
        """Named by what the training begins from: with other eyes it is trained anew."""
        begun = hashlib.sha256(load_preference_model(POCKET).encoder_fingerprint.encode()).hexdigest()[:12]
        return self.folder / f"{begun}-{self.steps}-{self.posters}-{self.users}-{self.seed}" / "prefdisc.safetensors"
