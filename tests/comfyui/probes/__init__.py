"""Nodes that only tests use: images that no honest node makes, and outputs at full precision."""

import json
import os
import uuid
from pathlib import Path

import folder_paths
import numpy as np
import torch

PACK = Path(__file__).resolve().parents[3]
FAULTS = {
    "none": lambda image: image,
    "nan": lambda image: image.index_fill(1, torch.tensor([1]), float("nan")),
    "inf": lambda image: image.index_fill(1, torch.tensor([1]), float("inf")),
    "rank 3": lambda image: image[0],
    "rank 5": lambda image: image[None],
    "one channel": lambda image: image[..., :1],
    "empty": lambda image: image[:0],
}


class ProbeImage:
    """Noise as an IMAGE, with a fault on request."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        whole = {"default": 1, "min": 1, "max": 4096}
        return {
            "required": {
                "fault": (list(FAULTS),),
                "batch": ("INT", whole),
                "size": ("INT", whole | {"default": 96}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**63}),
            }
        }

    def run(self, fault, batch, size, seed):
        noise = torch.rand(batch, size, size, 3, generator=torch.Generator().manual_seed(seed))
        return (FAULTS[fault](noise),)


class ProbeSave:
    """Writes an IMAGE or LATENT as .npy, unrounded."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "probes", "run", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("IMAGE,LATENT",)}}

    def run(self, value):
        tensor = value["samples"] if isinstance(value, dict) else value
        name = f"{uuid.uuid4().hex}.npy"
        np.save(os.path.join(folder_paths.get_output_directory(), name), tensor.detach().float().cpu().numpy())
        return {"ui": {"npy": [name], "shape": list(tensor.shape)}}


class ProbeClipVision:
    """A small CLIP_VISION of core's own class with random weights; core knows published files only, by their depth."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("CLIP_VISION",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"width": ("INT", {"default": 16, "min": 1, "max": 4096})}}

    def run(self, width):
        import comfy.clip_vision

        shape = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
        shape |= {"image_size": 24, "patch_size": 8, "num_channels": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-5}
        tower = comfy.clip_vision.ClipVisionModel(shape | {"projection_dim": width, "model_type": "clip_vision_model"})
        generator = torch.Generator().manual_seed(0)
        state = {
            name: torch.randn(x.shape, generator=generator)
            for name, x in tower.get_sd().items()
            if x.dtype.is_floating_point
        }
        tower.load_sd(state)
        return (tower,)


class ProbePocketClipVision:
    """The pocket image tower as core's own CLIP_VISION."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("CLIP_VISION",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        import comfy.clip_vision
        from safetensors import safe_open

        with safe_open(PACK / "prefgen" / "pocket" / "clip_vision.safetensors", "pt") as file:
            shape = json.loads(file.metadata()["config"])
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
        shape |= {"num_channels": 3, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
        shape |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "model_type": "clip_vision_model"}
        tower = comfy.clip_vision.ClipVisionModel(shape)
        tower.load_sd(state)
        return (tower,)


class ProbeModel:
    """A MODEL with a fault: it asks for more memory than any machine has, or paints as good as nothing."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("MODEL",)
    FAULTS = ("out of memory", "soft")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "fault": (list(cls.FAULTS),)}}

    def run(self, model, fault):
        def paint(apply, given):
            if fault == "soft":
                return 1e-4 * given["input"]
            return torch.empty(2**60, dtype=torch.uint8)

        model = model.clone()
        model.set_model_unet_function_wrapper(paint)
        return (model,)


class ProbeValue:
    """Any JSON value, through a link of any type, which ComfyUI checks against no input."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("*",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"json": ("STRING",)}}

    def run(self, **given):
        return (json.loads(given["json"]),)


class ProbeList:
    """A list of any JSON values, through a link of any type."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_IS_LIST = "probes", "run", ("*",), (True,)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"json": ("STRING",)}}

    def run(self, **given):
        return (json.loads(given["json"]),)


class ProbeImageList:
    """A list of noise images, one for each size, as core's folder loader puts them out."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_IS_LIST = "probes", "run", ("IMAGE",), (True,)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"sizes": ("STRING",), "seed": ("INT", {"default": 0, "min": 0, "max": 2**63})}}

    def run(self, sizes, seed):
        generator = torch.Generator().manual_seed(seed)
        return ([torch.rand(1, int(size), int(size), 3, generator=generator) for size in sizes.split()],)


class ProbePass:
    """Passes any value on through a link of any type."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("*",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("*",)}}

    def run(self, value):
        return (value,)


PROBES = (
    *(ProbeValue, ProbeList, ProbePass, ProbeImage, ProbeImageList, ProbeSave),
    *(ProbeClipVision, ProbePocketClipVision, ProbeModel),
)
NODE_CLASS_MAPPINGS = {probe.__name__: probe for probe in PROBES}
