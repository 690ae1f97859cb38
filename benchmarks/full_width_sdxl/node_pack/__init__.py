"""The node FullWidthSDXL: ComfyUI's SDXL with random weights and random prompts."""

import json

import torch

NUM_RANDOM_VALUES = 2**22
"""Number of random values to draw. Weights repeat them, because drawing billions of values would take too long."""


class FullWidthSDXL:
    """Creates a MODEL with random weights in the precision that ComfyUI's flags set, and random conditioning."""

    CATEGORY, FUNCTION, RETURN_TYPES = "benchmarks", "create", ("MODEL", "CONDITIONING", "CONDITIONING")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"unet_config": ("STRING", {"multiline": True})}}

    def create(self, unet_config: str):
        import comfy.model_management
        import comfy.model_patcher
        import comfy.supported_models

        load_device = comfy.model_management.get_torch_device()
        offload_device = comfy.model_management.unet_offload_device()
        dtype = comfy.model_management.unet_dtype(load_device)
        config = comfy.supported_models.SDXL(json.loads(unet_config))
        config.set_inference_dtype(dtype, comfy.model_management.unet_manual_cast(dtype, load_device))
        model = config.get_model({}, "", offload_device)
        fill_random(model.diffusion_model)
        patcher = comfy.model_patcher.ModelPatcher(model, load_device=load_device, offload_device=offload_device)
        return patcher, random_conditioning(1), random_conditioning(2)


def fill_random(module: torch.nn.Module) -> None:
    """Fill matrices with normal values, scaled to preserve the magnitude of activations; other weights are 1 or 0."""
    values = torch.randn(NUM_RANDOM_VALUES, generator=torch.Generator().manual_seed(0))
    for name, weight in module.named_parameters():
        if weight.ndim < 2:
            weight.data.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        scaled = (values * weight[0].numel() ** -0.5).to(weight.device, weight.dtype)
        for part in weight.data.view(-1).split(NUM_RANDOM_VALUES):
            part.copy_(scaled[: len(part)])


def random_conditioning(seed: int) -> list:
    generator = torch.Generator().manual_seed(seed)
    context, pooled = torch.randn(1, 77, 2048, generator=generator), torch.randn(1, 1280, generator=generator)
    return [[context, {"pooled_output": pooled}]]


NODE_CLASS_MAPPINGS = {"FullWidthSDXL": FullWidthSDXL}
