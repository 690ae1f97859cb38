"""The node PreferenceModelFromIPAdapter: loads a public IP-Adapter file as a preference model."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..prefgen.checkpoint.ip_adapter import load_ip_adapter
from .inputs import check_inputs
from .load_model import file_stamp
from .memory.model_management import register_with_model_management
from .sockets import PreferenceModelType

FOLDER = "ipadapter"
"""Folder in models/ where other node packs keep IP-Adapter files."""


def files() -> list[str]:
    """Return the .safetensors files in models/ipadapter, and in the folders from extra_model_paths.yaml."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    return [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(".safetensors")]


class PreferenceModelFromIPAdapter(io.ComfyNode):
    """Loads an IP-Adapter as a preference model that uses only the images of a user."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreferenceModelFromIPAdapter",
            display_name="Preference Model from IP-Adapter",
            category="PrefGen",
            description="Loads an IP-Adapter for SDXL as a preference model, without training. Images follow the look "
            "of the liked images. Scores come from Preference Model from CLIP Vision.",
            search_aliases=["prefgen", "ip adapter", "ipadapter", "image prompt", "style reference"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files(),
                    tooltip="Plain IP-Adapter for SDXL in models/ipadapter, such as ip-adapter_sdxl_vit-h.safetensors.",
                )
            ],
            outputs=[
                PreferenceModelType.Output(
                    display_name="preference_model",
                    tooltip="Preference model, for Encode User History (with the CLIP_VISION of the IP-Adapter) and "
                    "Apply Preference Adapter.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **inputs: object) -> list[tuple[str, int, int]]:
        """Return a value that changes with the file, or with any file if the name is linked and thus unknown (None)."""
        names = files() if file is None else [file]
        return [file_stamp(name, folder_paths.get_full_path_or_raise(FOLDER, name)) for name in names]

    @classmethod
    @check_inputs
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(
            register_with_model_management(load_ip_adapter(folder_paths.get_full_path_or_raise(FOLDER, file)))
        )


NODES = [PreferenceModelFromIPAdapter]
