"""The preference model's weights under ComfyUI's memory management: in for use, out when others need room."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import torch

from ..prefgen.preference import PreferenceModel

PRECISIONS = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What a person can choose, by name."""


def precision_of(choice: str, small: bool) -> torch.dtype:
    """What to compute in. Auto: float32 for a `small` base and on the CPU; else bfloat16, or float16 on a device that
    has no bfloat16."""
    chosen = PRECISIONS[choice]
    device = comfy.model_management.text_encoder_device()
    if chosen is not None:
        return chosen
    if small or comfy.model_management.is_device_cpu(device):
        return torch.float32
    return torch.bfloat16 if comfy.model_management.should_use_bf16(device) else torch.float16


def managed(model: PreferenceModel) -> PreferenceModel:
    """Hand a freshly loaded model to ComfyUI's management, once."""
    model.patcher = comfy.model_patcher.ModelPatcher(
        model,
        load_device=comfy.model_management.text_encoder_device(),
        offload_device=comfy.model_management.text_encoder_offload_device(),
    )
    return model


def ready(model: PreferenceModel) -> PreferenceModel:
    """Bring the whole model onto its device before it is used; "unload models" may have moved it out since."""
    if getattr(model, "patcher", None) is not None:
        comfy.model_management.load_models_gpu([model.patcher], force_full_load=True)
    return model
