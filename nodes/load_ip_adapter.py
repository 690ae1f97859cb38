"""PreferenceModelFromIPAdapter: an IP-Adapter file that SDXL users have already, as an adapter for the liked images."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..prefgen.checkpoint.ip_adapter import load_ip_adapter
from .memory.model_management import managed
from .sockets import PreferenceModelType

FOLDER = "ipadapter"
"""The folder in models/ where other packs keep such files."""


def files() -> list[str]:
    """The .safetensors files in models/ipadapter (and further folders of extra_model_paths.yaml)."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    return [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(".safetensors")]


class PreferenceModelFromIPAdapter(io.ComfyNode):
    """A preference model that knows a person by their images alone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreferenceModelFromIPAdapter",
            display_name="Preference Model from IP-Adapter",
            category="PrefGen",
            description="An IP-Adapter for SDXL as a preference model: nothing to train. It paints to the look of the "
            "liked images; it scores none.",
            search_aliases=["prefgen", "ip adapter", "ipadapter", "image prompt", "style reference"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files(),
                    tooltip="A plain IP-Adapter for SDXL in models/ipadapter: ip-adapter_sdxl_vit-h.safetensors.",
                )
            ],
            outputs=[
                PreferenceModelType.Output(
                    display_name="preference_model",
                    tooltip="For Encode User History, with the CLIP_VISION that the file was trained with, and for "
                    "Apply Preference Adapter.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str) -> tuple[str, int, int]:
        found = Path(folder_paths.get_full_path_or_raise(FOLDER, file)).stat()
        return file, found.st_mtime_ns, found.st_size

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(managed(load_ip_adapter(folder_paths.get_full_path_or_raise(FOLDER, file))))


NODES = [PreferenceModelFromIPAdapter]
