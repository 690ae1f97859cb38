"""Nodes that only tests use: images that no honest node makes, and outputs at full precision."""

import json
import os
import sys
import uuid
from pathlib import Path
from typing import ClassVar

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


def build_clip_vision(config):
    """core's CLIP_VISION of a configuration; versions before 0.24 read it from a file only."""
    import comfy.clip_vision

    try:
        return comfy.clip_vision.ClipVisionModel(config)
    except TypeError:
        path = Path(folder_paths.get_temp_directory()) / f"{uuid.uuid4().hex}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config))
        return comfy.clip_vision.ClipVisionModel(str(path))


class ProbeClipVision:
    """A small CLIP_VISION of core's own class with random weights; core knows published files only, by their depth."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("CLIP_VISION",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"width": ("INT", {"default": 16, "min": 1, "max": 4096})}}

    def run(self, width):
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
        shape |= {"image_size": 24, "patch_size": 8, "num_channels": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-5}
        tower = build_clip_vision(shape | {"projection_dim": width, "model_type": "clip_vision_model"})
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
        from safetensors import safe_open

        with safe_open(PACK / "prefgen" / "pocket" / "clip_vision.safetensors", "pt") as file:
            shape = json.loads(file.metadata()["config"])
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
        shape |= {"num_channels": 3, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
        shape |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "model_type": "clip_vision_model"}
        tower = build_clip_vision(shape)
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


class ProbeSDXL:
    """The MODEL of a small SDXL in diffusers' layout, and its prompt as CONDITIONING; core knows the full size only.

    Its UNet has the shapes of the pocket generator, its text encoders any vocabulary.
    """

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("MODEL", "CONDITIONING")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"folder": ("STRING",), "prompt": ("STRING",)}}

    def run(self, folder, prompt):
        with torch.inference_mode(False), torch.no_grad():
            return self.model(Path(folder)), self.conditioning(Path(folder), prompt)

    def model(self, folder):
        import comfy.model_management
        import comfy.model_patcher
        import comfy.supported_models
        import comfy.utils
        from safetensors.torch import load_file

        class SmallSDXL(comfy.supported_models.SDXL):
            unet_extra_config: ClassVar[dict] = {}

            def model_type(self, state_dict, prefix=""):
                return comfy.model_base.ModelType.EPS

        shapes = next(module for name, module in sys.modules.items() if name.endswith(".prefgen.pocket.shapes"))
        config = SmallSDXL(shapes.UNET.ldm_config())
        config.set_inference_dtype(torch.float32, None)
        device = comfy.model_management.get_torch_device()
        model = config.get_model({}, "", device)
        names = comfy.utils.unet_to_diffusers(config.unet_config)
        state = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
        model.diffusion_model.load_state_dict({names[name]: tensor for name, tensor in state.items()})
        return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)

    def conditioning(self, folder, prompt):
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

        states = []
        for number, kind in (("", CLIPTextModel), ("_2", CLIPTextModelWithProjection)):
            tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{number}")
            ids = tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            output = kind.from_pretrained(folder / f"text_encoder{number}")(ids, output_hidden_states=True)
            states.append(output.hidden_states[-2])
        return [[torch.cat(states, dim=-1), {"pooled_output": output.text_embeds}]]


class ProbeDecode:
    """Decodes a LATENT with the VAE of a pipeline in diffusers' layout."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probes", "run", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"folder": ("STRING",), "samples": ("LATENT",)}}

    def run(self, folder, samples):
        from diffusers import AutoencoderKL

        with torch.inference_mode(False), torch.no_grad():
            vae = AutoencoderKL.from_pretrained(Path(folder) / "vae")
            pixels = vae.decode(samples["samples"].clone().float()).sample
        return (pixels.movedim(1, -1) / 2 + 0.5,)


PROBES = (
    *(ProbeValue, ProbeList, ProbePass, ProbeImage, ProbeImageList, ProbeSave),
    *(ProbeClipVision, ProbePocketClipVision, ProbeModel),
    *(ProbeSDXL, ProbeDecode),
)
NODE_CLASS_MAPPINGS = {probe.__name__: probe for probe in PROBES}
