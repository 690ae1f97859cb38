"""LoadPocketGenerator: the bundled SDXL-architecture generator as core's own MODEL, CLIP and VAE."""

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
from comfy_api.latest import io

from ..prefgen.errors import CheckpointError
from ..prefgen.pocket import shapes, taesd, text


class PocketSDXL(comfy.supported_models.SDXL):
    """Core's SDXL at the pocket size. The head size comes with the unet_config, so nothing is added to it here."""

    unet_extra_config: ClassVar[dict] = {}
    memory_usage_factor = 0.8

    def model_type(self, state_dict: dict, prefix: str = "") -> comfy.model_base.ModelType:
        return comfy.model_base.ModelType.V_PREDICTION


def offer_loras() -> None:
    """Put the pocket's LoRAs into the list of core's LoRA loaders, behind a person's own."""
    folder_paths.add_model_folder_path("loras", str(shapes.LORAS))


def load_state(part: str) -> dict[str, torch.Tensor]:
    """A part's tensors in float32; the files hold halves, to be small.

    Raises:
        CheckpointError: the file is missing or cannot be read.
    """
    path = shapes.weights_path(part)
    try:
        state = comfy.utils.load_torch_file(str(path), safe_load=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The pocket models' {path.name} cannot be read ({error}): the file is damaged, reinstall the pack."
        ) from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def load_model(disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """The UNet as a MODEL; its weights are in diffusers' names.

    Args:
        disable_dynamic: use the patcher that keeps whole weights on the device, as core's loaders offer it.
    """
    config = PocketSDXL(shapes.UNET.ldm_config())
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, "", comfy.model_management.unet_offload_device())
    names = comfy.utils.unet_to_diffusers(config.unet_config)
    state = {names.get(name, name): tensor for name, tensor in load_state("unet").items()}
    patchers = comfy.model_patcher
    patcher = (patchers.ModelPatcher if disable_dynamic else patchers.CoreModelPatcher)(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    _fill(model.diffusion_model, state, "unet", assign=patcher.is_dynamic())
    # how to build the MODEL anew, for whoever needs a copy with weights of its own
    patcher.cached_patcher_init = (load_model, ())
    return patcher


def load_clip() -> comfy.sd.CLIP:
    """Both text encoders, behind SDXL's own tokenizer."""
    target = comfy.supported_models_base.ClipTarget(comfy.sdxl_clip.SDXLTokenizer, comfy.sdxl_clip.SDXLClipModel)
    options = {
        "clip_l_model_config": shapes.CLIP_L.clip_config(),
        "clip_g_model_config": shapes.CLIP_G.clip_config(),
        "dtype": torch.float32,
    }
    clip = comfy.sd.CLIP(target, model_options=options)
    state = text.expand_encoders(load_state("text_encoders"))
    _fill(clip.cond_stage_model, state, "text_encoders", assign=clip.is_dynamic(), unread=text.UNUSED_TENSORS)
    return clip


def load_vae() -> comfy.sd.VAE:
    """The VAE: a TAESD of half the width inside core's own."""
    return comfy.sd.VAE(sd=taesd.pad_to_core_width(load_state("vae")))


def _fill(
    module: torch.nn.Module, state: dict[str, torch.Tensor], part: str, assign: bool, unread: tuple[str, ...] = ()
) -> None:
    """Load a whole state dict, of which only the `unread` may be missing; `assign` as core does it."""
    try:
        missing, unknown = module.load_state_dict(state, strict=False, assign=assign)
    except RuntimeError as error:
        raise CheckpointError(
            f"The pocket models' {part}.safetensors holds tensors of other shapes than this version's ({error}): "
            "reinstall the pack."
        ) from error
    missing = [name for name in missing if name not in unread]
    if missing or unknown:
        raise CheckpointError(
            f"The pocket models' {part}.safetensors lacks {len(missing)} tensors ({', '.join(missing[:3])}) and has "
            f"{len(unknown)} unknown ones ({', '.join(unknown[:3])}): it is another version's, reinstall the pack."
        )


class LoadPocketGenerator(io.ComfyNode):
    """The pocket generator, in core's own classes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadPocketGenerator",
            display_name="Load Pocket Generator",
            category="PrefGen",
            description=(
                "The small SDXL generator that comes with the pack: nothing to download. It paints flat posters of "
                f"{shapes.IMAGE_SIZE} x {shapes.IMAGE_SIZE} pixels and works with every core node that takes SDXL."
            ),
            search_aliases=["prefgen", "small sdxl", "demo checkpoint", "pocket", "load checkpoint"],
            inputs=[],
            outputs=[
                io.Model.Output(tooltip="The pocket UNet, SDXL's architecture, v-prediction."),
                io.Clip.Output(tooltip="The pocket generator's two text encoders."),
                io.Vae.Output(tooltip="The pocket generator's VAE, for SDXL latents."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(load_model(), load_clip(), load_vae())


NODES = [LoadPocketGenerator]
