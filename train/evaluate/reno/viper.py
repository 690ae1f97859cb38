"""Trains the ViPer-like model: the ablation's `base` variant (no prompts, contrastive loss or preference tokens)."""

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
    """Trains and caches the ViPer-like model, like the ablation's variants, with the shipped vision encoder.

    Attributes:
        folder: Folder of the trained models.
        steps: Training steps.
        posters: Number of training posters.
        users: Users in a batch.
        seed: Seed of the training.
    """

    folder: Path
    steps: int = STEPS
    posters: int = POSTERS
    users: int = DecoderConfig.users
    seed: int = 0

    def prefdisc(self) -> PrefDisc:
        """Return the frozen model. It is trained if its file does not exist."""
        prefdisc = new_prefdisc(variants.VARIANTS[NAME].num_tokens)
        prefdisc.load_state_dict(load_file(self._trained_file()))
        return prefdisc.requires_grad_(False).eval()

    @cached_property
    def fingerprint(self) -> str:
        """The hash of the weights. The model is trained if its file does not exist."""
        return hashlib.sha256(self._trained_file().read_bytes()).hexdigest()

    def _trained_file(self) -> Path:
        """Train the model unless its file exists. Resumes an interrupted training."""
        if not self.file.exists():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            vision = variants.load_shipped_vision(self.file.parent, self.posters)
            trained = variants.train_variant(NAME, self.seed, self.file.parent, self.steps, *vision, users=self.users)
            temporary = self.file.with_suffix(".tmp")
            tensors = {name: tensor.detach().cpu().clone() for name, tensor in trained.state_dict().items()}
            save_file(tensors, temporary)
            temporary.replace(self.file)
        return self.file

    @property
    def file(self) -> Path:
        """The file of the weights. Its name contains the encoder's hash, so that a new encoder is trained anew."""
        encoder = hashlib.sha256(load_preference_model(POCKET).encoder_fingerprint.encode()).hexdigest()[:12]
        return self.folder / f"{encoder}-{self.steps}-{self.posters}-{self.users}-{self.seed}" / "prefdisc.safetensors"
