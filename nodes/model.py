"""LoadPreferenceModel: a preference checkpoint from models/prefgen, or the bundled one."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..prefgen.pocket import shapes
from ..prefgen.preference import POCKET, load_preference_model
from .types import PreferenceModelType
from .weights import managed

FOLDER = "prefgen"
BASES = "base"


def checkpoints() -> list[str]:
    """The bundled checkpoint, then the files in models/prefgen (and further folders of extra_model_paths.yaml)."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    names = folder_paths.get_filename_list(FOLDER)
    return [POCKET, *(n for n in names if n.endswith(".safetensors") and Path(n).parts[0] != BASES)]


def _file(checkpoint: str) -> str:
    if checkpoint == POCKET:
        return str(shapes.weights_path("preference"))
    return folder_paths.get_full_path_or_raise(FOLDER, checkpoint)


class LoadPreferenceModel(io.ComfyNode):
    """A preference checkpoint with the base model it names."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadPreferenceModel",
            display_name="Load Preference Model",
            category="PrefGen",
            description="Loads what reads a person's taste: PrefDisc, and the adapter that paints to it.",
            search_aliases=["prefgen", "prefdisc", "preference checkpoint", "taste", "personalise"],
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=checkpoints(),
                    default=POCKET,
                    tooltip='"pocket" is bundled with the pack; others are .safetensors files in models/prefgen.',
                )
            ],
            outputs=[
                PreferenceModelType.Output(
                    display_name="preference_model",
                    tooltip="For the nodes that score images, encode a history, apply the adapter or optimise noise.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, checkpoint: str) -> tuple[str, int, int]:
        found = Path(_file(checkpoint)).stat()
        return checkpoint, found.st_mtime_ns, found.st_size

    @classmethod
    def execute(cls, checkpoint: str) -> io.NodeOutput:
        bases = [Path(folder) / BASES for folder in folder_paths.get_folder_paths(FOLDER)]
        path = POCKET if checkpoint == POCKET else _file(checkpoint)
        return io.NodeOutput(managed(load_preference_model(path, bases=bases)))


NODES = [LoadPreferenceModel]
