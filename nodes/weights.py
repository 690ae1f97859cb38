"""The preference model's weights under ComfyUI's memory management: in for use, out when others need room."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher

from ..prefgen.preference import PreferenceModel


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
