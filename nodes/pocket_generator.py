"""LoadPocketGenerator: loads the bundled SDXL-architecture generator as ComfyUI's MODEL, CLIP and VAE."""

from __future__ import annotations

from typing import ClassVar

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sdxl_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import io

from ..prefgen.errors import CheckpointError
from ..prefgen.pocket import shapes, taesd, text
from ..prefgen.safefile import load_tensors
from .inputs import check_inputs


class PocketSDXL(comfy.supported_models.SDXL):
    """ComfyUI's SDXL at the pocket size. The unet_config already contains the head size."""

    unet_extra_config: ClassVar[dict] = {}
    memory_usage_factor = 0.8

    def model_type(self, state_dict: dict, prefix: str = "") -> comfy.model_base.ModelType:
        return comfy.model_base.ModelType.V_PREDICTION


def register_lora_folder() -> None:
    """Add the pocket LoRAs to the list in ComfyUI's LoRA loaders, after the user's own LoRAs."""
    folder_paths.add_model_folder_path("loras", str(shapes.LORA_FOLDER))


def load_state(part: str) -> dict[str, torch.Tensor]:
    """Load a part's tensors as float32. The files store half precision.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    state = load_tensors(shapes.weights_path(part))
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def load_model(disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Load the UNet, whose file uses diffusers' names. ComfyUI's flags, such as `--fp16-unet`, set its precision.

    Args:
        disable_dynamic: Whether to use the patcher that keeps all weights on the device, as in ComfyUI's loaders.
    """
    load_device = comfy.model_management.get_torch_device()
    dtype = comfy.model_management.unet_dtype(load_device, supported_dtypes=[torch.float32])
    config = PocketSDXL(shapes.UNET.ldm_config())
    config.set_inference_dtype(dtype, comfy.model_management.unet_manual_cast(dtype, load_device))
    model = config.get_model({}, "", comfy.model_management.unet_offload_device())
    names = comfy.utils.unet_to_diffusers(config.unet_config)
    state = {names.get(name, name): tensor.to(dtype) for name, tensor in load_state("unet").items()}
    patchers = comfy.model_patcher
    patcher = (patchers.ModelPatcher if disable_dynamic else patchers.CoreModelPatcher)(
        model, load_device=load_device, offload_device=comfy.model_management.unet_offload_device()
    )
    _fill(model.diffusion_model, state, "unet", assign=patcher.is_dynamic())
    # ComfyUI calls this to build a copy with its own weights.
    patcher.cached_patcher_init = (load_model, ())
    return patcher


def text_encoder_dtype() -> torch.dtype:
    """Return the precision that ComfyUI's flags set, such as `--fp16-text-enc`, or float32 without a flag."""
    if any(getattr(args, flag) for flag in vars(args) if flag.endswith("_text_enc")):
        return comfy.model_management.text_encoder_dtype(comfy.model_management.text_encoder_device())
    return torch.float32


def load_clip() -> comfy.sd.CLIP:
    """Load both text encoders, with SDXL's tokenizer. ComfyUI's flags set their precision."""
    target = comfy.supported_models_base.ClipTarget(comfy.sdxl_clip.SDXLTokenizer, comfy.sdxl_clip.SDXLClipModel)
    options = {
        "clip_l_model_config": shapes.CLIP_L.clip_config(),
        "clip_g_model_config": shapes.CLIP_G.clip_config(),
        "dtype": text_encoder_dtype(),
    }
    clip = comfy.sd.CLIP(target, model_options=options)
    encoders = text.expand_encoders(load_state("text_encoders"))
    state = {name: tensor.to(options["dtype"]) for name, tensor in encoders.items()}
    _fill(clip.cond_stage_model, state, "text_encoders", assign=clip.patcher.is_dynamic(), optional=text.UNUSED_TENSORS)
    return clip


def load_vae() -> comfy.sd.VAE:
    """Load the VAE, a narrow TAESD padded to ComfyUI's width."""
    return comfy.sd.VAE(sd=taesd.pad_to_core_width(load_state("vae")))


def _fill(
    module: torch.nn.Module, state: dict[str, torch.Tensor], part: str, assign: bool, optional: tuple[str, ...] = ()
) -> None:
    """Load a state dict. Only `optional` tensors may be missing. `assign` is passed to `load_state_dict`."""
    try:
        missing, unknown = module.load_state_dict(state, strict=False, assign=assign)
        detail = ", ".join([*(name for name in missing if name not in optional), *unknown][:3])
    except RuntimeError as error:
        detail = str(error)
    if detail:
        raise CheckpointError(
            f"The pocket models' {part}.safetensors is not compatible with this version of the pack ({detail}). "
            "Reinstall the pack."
        )


class LoadPocketGenerator(io.ComfyNode):
    """Loads the pocket generator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadPocketGenerator",
            display_name="Load Pocket Generator",
            category="PrefGen",
            description=(
                "Loads the small SDXL-architecture generator that is bundled with the pack. It paints flat posters of "
                f"{shapes.IMAGE_SIZE} x {shapes.IMAGE_SIZE} pixels and works with all SDXL nodes."
            ),
            search_aliases=["prefgen", "small sdxl", "demo checkpoint", "pocket", "load checkpoint"],
            inputs=[],
            outputs=[
                io.Model.Output(tooltip="Pocket UNet: SDXL's architecture, v-prediction."),
                io.Clip.Output(tooltip="Text encoders of the pocket generator."),
                io.Vae.Output(tooltip="VAE of the pocket generator, for SDXL latents."),
            ],
        )

    @classmethod
    @check_inputs
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(load_model(), load_clip(), load_vae())


NODES = [LoadPocketGenerator]
