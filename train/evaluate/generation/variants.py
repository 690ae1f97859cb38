"""Trains the ablation's alignments and adapters, each with the same small budget, resuming what was begun."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from prefgen.checkpoint.preference_model import POCKET, PreferenceModel, load_preference_model
from prefgen.pocket.shapes import weights_path
from train.pocket import align, projected
from train.pocket.captions import STRANGE, WORDY
from train.pocket.encoded import encoded_agents
from train.pocket.latents import latent_pool

STEPS = 400
"""Of every variant's adapter (default ours): the same for all."""
SEED = 61
FILES = ("unet", "text_encoders", "vae", "clip_vision")


@dataclass(frozen=True)
class Variant:
    """objective: of the alignment. fusion: of the parts' tokens."""

    objective: str = "mmd"
    fusion: str = "concatenation"


VARIANTS = {
    "mmd": Variant(),
    "mse": Variant(objective="mse"),
    "cosine": Variant(objective="cosine"),
    "attention": Variant(fusion="attention"),
}


@dataclass(frozen=True)
class Trainings:
    """Where variants are trained, and for how many steps of the adapter and of the alignment before it. All begin from
    the shipped PrefDisc and generator."""

    folder: Path
    steps: int = STEPS
    align_steps: int = align.CONFIG.steps

    def model(self, name: str) -> PreferenceModel:
        """The variant's checkpoint, trained where it is not there yet."""
        file = self.folder / self._begun_from / f"{name}-{self.steps}-{self.align_steps}" / "checkpoint.safetensors"
        if not file.exists():
            self._train(VARIANTS[name], file)
        return load_preference_model(file)

    def _train(self, variant: Variant, file: Path) -> None:
        shared, own = self.folder / self._begun_from, file.parent
        own.mkdir(parents=True, exist_ok=True)
        # Drawn and encoded once; each training looks for them in its own folder.
        latent_pool(shared)
        encoded_agents(shared, projected.AGENTS, SEED)
        for table in shared.glob("*.safetensors"):
            if not (own / table.name).exists():
                os.link(table, own / table.name)
        beside = own / "unfinished.safetensors"
        shutil.copyfile(weights_path("preference"), beside)
        align.train(own, replace(align.CONFIG, steps=self.align_steps), objective=variant.objective, out=beside)
        projected.train(own, replace(projected.CONFIG, steps=self.steps), SEED, variant.fusion, out=beside)
        beside.replace(file)

    @cached_property
    def _begun_from(self) -> str:
        """A name for the weights that the trainings begin from: with others, they are trained anew."""
        digest = hashlib.sha256(load_preference_model(POCKET).reading.encode())
        digest.update(repr((projected.CONFIG, projected.SHOWN, WORDY, STRANGE)).encode())
        for part in FILES:
            digest.update(weights_path(part).read_bytes())
        return digest.hexdigest()[:12]
