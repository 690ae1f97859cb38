"""Builds models of any size with random weights, directly in their compute dtype."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor, nn

from benchmarks.adapter import load_pack
from benchmarks.full_size.shapes import Shapes
from benchmarks.geometries import word_tokenizer
from prefgen.pocket.shapes import UNetShape
from prefgen.prefdisc.base.base_model import with_full_attention
from prefgen.prefdisc.base.quantization import keep_differentiable
from prefgen.prefdisc.base.shards import UNQUANTIZED_MODULES
from prefgen.prefdisc.model import PrefDisc

NUM_RANDOM_VALUES = 2**22
"""Number of random values to draw. Weights repeat them, because drawing eight billion values would take too long."""

Pack = Callable[[str], ModuleType]


def meta_base(shapes: Shapes, dtype: torch.dtype) -> nn.Module:
    """Build the base model on the meta device, without weights."""
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    config = Idefics2Config(**with_full_attention(shapes.base))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            return Idefics2ForConditionalGeneration(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def build_prefdisc(shapes: Shapes, dtype: torch.dtype, quantize: str, device: torch.device) -> PrefDisc:
    """Build a PrefDisc with random weights in `dtype`, or with its decoder and connector in NF4."""
    base = meta_base(shapes, dtype)
    if quantize == "nf4":
        _quantize_nf4(base, dtype, device)
    fill_random(base, device)
    rotary = base.model.text_model.rotary_emb
    base.model.text_model.rotary_emb = type(rotary)(config=base.config.text_config).to(device)
    keep_differentiable(base)
    width = base.config.text_config.hidden_size
    tokens = torch.randn(shapes.spec.num_tokens, width, device=device).to(dtype) * 0.02
    return PrefDisc(base, word_tokenizer(), shapes.spec, tokens).eval().requires_grad_(False)


def fill_random(module: nn.Module, device: torch.device) -> None:
    """Replace every meta parameter with random values on `device`.

    Matrices are drawn from a normal distribution with a scale that preserves the magnitude of activations. Scale
    vectors are 1, biases 0.
    """
    drawn: dict[torch.dtype, Tensor] = {}
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if not parameter.is_meta:
                continue
            values = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
            if parameter.ndim > 1:
                if parameter.dtype not in drawn:
                    drawn[parameter.dtype] = torch.randn(NUM_RANDOM_VALUES, device=device).to(parameter.dtype)
                _repeat(values, drawn[parameter.dtype])
                values.mul_(parameter[0].numel() ** -0.5)
            else:
                values.fill_(0.0 if name == "bias" else 1.0)
            setattr(layer, name, nn.Parameter(values, requires_grad=False))
        for name, buffer in layer.named_buffers(recurse=False):
            if buffer.is_meta:
                layer._buffers[name] = torch.zeros(buffer.shape, dtype=buffer.dtype, device=device)


def _repeat(target: Tensor, values: Tensor) -> None:
    flat = target.view(-1)
    for part in flat.split(len(values)):
        part.copy_(values[: len(part)])


def _quantize_nf4(base: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """Turn the linear layers that NF4 applies to into bitsandbytes' 4-bit layers with random codes."""
    import bitsandbytes as bnb
    from bitsandbytes.functional import QuantState, get_4bit_type

    codes = torch.randint(0, 256, (NUM_RANDOM_VALUES,), dtype=torch.uint8, device=device)
    table = get_4bit_type("nf4", device=device)
    for name, layer in list(base.named_modules()):
        if not isinstance(layer, nn.Linear) or any(part in name for part in UNQUANTIZED_MODULES):
            continue
        out, into = layer.weight.shape
        quantized = bnb.nn.Linear4bit(
            into,
            out,
            layer.bias is not None,
            compute_dtype=dtype,
            quant_type="nf4",
            compress_statistics=False,
            device="meta",
        )
        packed = torch.empty(out * into // 2, 1, dtype=torch.uint8, device=device)
        _repeat(packed, codes)
        scales = torch.full((out * into // 64,), 3 * into**-0.5, device=device)
        state = QuantState(scales, torch.Size((out, into)), table, 64, "nf4", dtype)
        quantized.weight = bnb.nn.Params4bit(
            packed, False, state, 64, False, "nf4", torch.uint8, module=quantized, bnb_quantized=True
        )
        quantized.quant_state = state
        base.set_submodule(name, quantized)


def load_comfyui(device: torch.device) -> Pack:
    """Load ComfyUI into this process with torch's attention, and return a function that imports modules of the pack.

    ComfyUI uses torch's attention by default on NVIDIA GPUs.
    """
    pack = load_pack(cpu=device.type == "cpu")
    import comfy.cli_args

    comfy.cli_args.args.use_pytorch_cross_attention = True
    return pack


def meta_unet(shape: UNetShape, dtype: torch.dtype):
    """Build ComfyUI's SDXL of this shape without weights: a `comfy.model_base.SDXL`."""
    import comfy.supported_models

    config = comfy.supported_models.SDXL(shape.ldm_config())
    config.set_inference_dtype(dtype, None)
    return config.get_model({}, "", torch.device("meta")).eval().requires_grad_(False)


def build_unet(shape: UNetShape, dtype: torch.dtype, device: torch.device):
    """Build ComfyUI's SDXL of this shape with random weights, as a MODEL."""
    import comfy.model_management
    import comfy.model_patcher

    model = meta_unet(shape, dtype)
    fill_random(model.diffusion_model, device)
    model.device = device  # ComfyUI expects this attribute
    return comfy.model_patcher.ModelPatcher(
        model, load_device=comfy.model_management.get_torch_device(), offload_device=torch.device("cpu")
    )


def meta_vae(shapes: Shapes, dtype: torch.dtype) -> nn.Module:
    """Build ComfyUI's SDXL VAE without weights."""
    from comfy.ldm.models.autoencoder import AutoencoderKL

    with torch.device("meta"):
        return AutoencoderKL(ddconfig=copy.deepcopy(shapes.vae), embed_dim=4).to(dtype).eval().requires_grad_(False)


def build_vae(shapes: Shapes, dtype: torch.dtype, device: torch.device):
    """Build ComfyUI's SDXL VAE with random weights, as a VAE."""
    import comfy.sd

    vae = meta_vae(shapes, dtype)
    fill_random(vae, torch.device("cpu"))
    config = {"params": {"ddconfig": copy.deepcopy(shapes.vae), "embed_dim": 4}}
    return comfy.sd.VAE(sd=vae.state_dict(), config=config, dtype=dtype, device=device)
