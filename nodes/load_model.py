"""LoadPreferenceModel: loads a preference checkpoint from models/prefgen, or the bundled one."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..prefgen.checkpoint.preference_model import POCKET, load_preference_model
from ..prefgen.pocket import shapes
from .inputs import check_inputs
from .memory.model_management import register_with_model_management
from .memory.precision import PRECISIONS, base_load_options, progress_bar
from .sockets import PreferenceModelType

FOLDER = "prefgen"
BASES = "base"
LANGUAGE_MODELS = "LLM"
"""Folder in models/ where other packs keep language models such as Idefics2."""


def list_checkpoints() -> list[str]:
    """Return "pocket" and the files in models/prefgen (and in the folders from extra_model_paths.yaml)."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    names = folder_paths.get_filename_list(FOLDER)
    return [POCKET, *(n for n in names if n.endswith(".safetensors") and Path(n).parts[0] != BASES)]


def _checkpoint_path(checkpoint: str) -> str:
    if checkpoint == POCKET:
        return str(shapes.weights_path("preference"))
    return folder_paths.get_full_path_or_raise(FOLDER, checkpoint)


def file_stamp(name: str, path: str | Path) -> tuple[str, int, int]:
    """Return a file's name, modification time and size. Used by `fingerprint_inputs`."""
    stat = Path(path).stat()
    return name, stat.st_mtime_ns, stat.st_size


def base_folders() -> list[Path]:
    """Return the folders to search for base models: models/prefgen/base, models/LLM, and their extra model paths."""
    registered = LANGUAGE_MODELS in folder_paths.folder_names_and_paths
    language_models = folder_paths.get_folder_paths(LANGUAGE_MODELS) if registered else []
    default = Path(folder_paths.models_dir) / LANGUAGE_MODELS
    ours = (Path(folder) / BASES for folder in folder_paths.get_folder_paths(FOLDER))
    return list(dict.fromkeys([*ours, *map(Path, language_models), default]))


class LoadPreferenceModel(io.ComfyNode):
    """Loads a preference checkpoint and its base model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadPreferenceModel",
            display_name="Load Preference Model",
            category="PrefGen",
            description="Loads a preference model: PrefDisc scores images, and the adapter personalises SDXL.",
            search_aliases=["prefgen", "prefdisc", "preference checkpoint", "taste", "personalise"],
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=list_checkpoints(),
                    default=POCKET,
                    tooltip='Preference checkpoint: "pocket" is bundled, others are files in models/prefgen.',
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="auto",
                    optional=True,
                    tooltip="Precision of the base model. auto: float32 for small models, else bfloat16. "
                    "An 8B model needs 16 GiB in bfloat16, 9 in int8 and 6 in nf4. int8 and nf4 need the package "
                    "bitsandbytes.",
                ),
                io.Boolean.Input(
                    "allow_download",
                    default=False,
                    optional=True,
                    tooltip="Download the base model from the Hugging Face Hub if it is missing. If off, nothing is "
                    "downloaded.",
                ),
            ],
            outputs=[
                PreferenceModelType.Output(
                    display_name="preference_model",
                    tooltip="Preference model, for scoring, encoding, applying the adapter or optimising noise.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, checkpoint: str | None, **inputs: object) -> list[tuple[str, int, int]]:
        """Return a value that changes with the file, or with any file if the name is linked and thus unknown (None)."""
        names = list_checkpoints() if checkpoint is None else [checkpoint]
        return [file_stamp(name, _checkpoint_path(name)) for name in names]

    @classmethod
    @check_inputs
    def execute(cls, checkpoint: str, precision: str = "auto", allow_download: bool = False) -> io.NodeOutput:
        path = POCKET if checkpoint == POCKET else _checkpoint_path(checkpoint)
        download = progress_bar() if allow_download else None
        model = load_preference_model(
            path, base_folders=base_folders(), base_options=base_load_options(precision), download_progress=download
        )
        return io.NodeOutput(register_with_model_management(model))


NODES = [LoadPreferenceModel]
