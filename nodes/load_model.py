"""LoadPreferenceModel: a preference checkpoint from models/prefgen, or the bundled one."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..prefgen.checkpoint.preference_model import POCKET, load_preference_model
from ..prefgen.pocket import shapes
from .memory.model_management import register_with_model_management
from .memory.precision import PRECISIONS, base_load_options, progress_bar
from .sockets import PreferenceModelType

FOLDER = "prefgen"
BASES = "base"
LANGUAGE_MODELS = "LLM"
"""The folder in models/ where other packs keep language models, Idefics2 among them."""


def checkpoints() -> list[str]:
    """The bundled checkpoint, then the files in models/prefgen (and further folders of extra_model_paths.yaml)."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    names = folder_paths.get_filename_list(FOLDER)
    return [POCKET, *(n for n in names if n.endswith(".safetensors") and Path(n).parts[0] != BASES)]


def _file(checkpoint: str) -> str:
    if checkpoint == POCKET:
        return str(shapes.weights_path("preference"))
    return folder_paths.get_full_path_or_raise(FOLDER, checkpoint)


def base_folders() -> list[Path]:
    """Where base models are looked for: models/prefgen/base, then models/LLM, each wherever ComfyUI has it."""
    known = folder_paths.folder_names_and_paths
    other = folder_paths.get_folder_paths(LANGUAGE_MODELS) if LANGUAGE_MODELS in known else []
    usual = Path(folder_paths.models_dir) / LANGUAGE_MODELS
    ours = (Path(folder) / BASES for folder in folder_paths.get_folder_paths(FOLDER))
    return list(dict.fromkeys([*ours, *map(Path, other), usual]))


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
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="auto",
                    optional=True,
                    tooltip="What the base model is read in. Auto: float32 for small ones, else bfloat16. An 8B base "
                    "takes 16 GiB in bfloat16, 9 in int8 and 6 in nf4; these two need the package bitsandbytes.",
                ),
                io.Boolean.Input(
                    "allow_download",
                    default=False,
                    optional=True,
                    tooltip="Download the checkpoint's base model from the Hugging Face Hub, if it is on no disk here. "
                    "Off, nothing is ever downloaded.",
                ),
            ],
            outputs=[
                PreferenceModelType.Output(
                    display_name="preference_model",
                    tooltip="For the nodes that score images, encode a history, apply the adapter or optimise noise.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(
        cls, checkpoint: str, precision: str = "auto", allow_download: bool = False
    ) -> tuple[str, int, int, str]:
        found = Path(_file(checkpoint)).stat()
        return checkpoint, found.st_mtime_ns, found.st_size, precision

    @classmethod
    def execute(cls, checkpoint: str, precision: str = "auto", allow_download: bool = False) -> io.NodeOutput:
        path = POCKET if checkpoint == POCKET else _file(checkpoint)
        download = progress_bar() if allow_download else None
        model = load_preference_model(
            path, base_folders=base_folders(), base_options=base_load_options(precision), download_progress=download
        )
        return io.NodeOutput(register_with_model_management(model))


NODES = [LoadPreferenceModel]
