"""Trains the alignments and adapters of the ablation, with equal small budgets; can be resumed."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from prefgen.checkpoint.preference_model import POCKET, PreferenceModel, load_preference_model
from prefgen.pocket.shapes import weights_path
from train.pocket import align
from train.pocket import projected_adapter as projected
from train.pocket.agent_embeddings import load_agent_embeddings
from train.pocket.captions import BLENDED_SUBJECT_SHARE, NAMES_MORE_SHARE
from train.pocket.latents import latent_pool

STEPS = 400
"""Training steps of each variant's adapter (our choice)."""
SEED = 61
FILES = ("unet", "text_encoders", "vae", "clip_vision")


@dataclass(frozen=True)
class Variant:
    """A variant of the adapter.

    Attributes:
        objective: Objective of the alignment.
        fusion: Fusion of the tokens of the embedding's parts.
    """

    objective: str = "mmd"
    fusion: str = "concatenation"


VARIANTS = {
    "mmd": Variant(),
    "mse": Variant(objective="mse"),
    "cosine": Variant(objective="cosine"),
    "attention": Variant(fusion="attention"),
}


@dataclass(frozen=True)
class AdapterTrainings:
    """Trains adapter variants from the shipped PrefDisc and generator.

    Attributes:
        folder: Folder of the trainings.
        steps: Training steps of the adapter.
        align_steps: Training steps of the alignment, which comes first.
    """

    folder: Path
    steps: int = STEPS
    align_steps: int = align.CONFIG.steps

    def model(self, name: str) -> PreferenceModel:
        """Load the variant's checkpoint; train it first if it does not exist."""
        file = (
            self.folder / self._initial_weights / f"{name}-{self.steps}-{self.align_steps}" / "checkpoint.safetensors"
        )
        if not file.exists():
            self._train(VARIANTS[name], file)
        return load_preference_model(file)

    def _train(self, variant: Variant, file: Path) -> None:
        shared, folder = self.folder / self._initial_weights, file.parent
        folder.mkdir(parents=True, exist_ok=True)
        # Latents and encoded agents are shared: computed once, then linked into the folder of each training.
        latent_pool(shared)
        load_agent_embeddings(shared, projected.AGENTS, SEED)
        for table in shared.glob("*.safetensors"):
            if not (folder / table.name).exists():
                os.link(table, folder / table.name)
        unfinished = folder / "unfinished.safetensors"
        shutil.copyfile(weights_path("preference"), unfinished)
        align.train(folder, replace(align.CONFIG, steps=self.align_steps), objective=variant.objective, out=unfinished)
        projected.train(folder, replace(projected.CONFIG, steps=self.steps), SEED, variant.fusion, out=unfinished)
        unfinished.replace(file)

    @cached_property
    def _initial_weights(self) -> str:
        """Hash of the weights from which the trainings start; part of the cache key."""
        digest = hashlib.sha256(load_preference_model(POCKET).encoder_fingerprint.encode())
        digest.update(repr((projected.CONFIG, projected.SHOWN, NAMES_MORE_SHARE, BLENDED_SUBJECT_SHARE)).encode())
        for part in FILES:
            digest.update(weights_path(part).read_bytes())
        return digest.hexdigest()[:12]
