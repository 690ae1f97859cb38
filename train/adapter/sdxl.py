"""Loads SDXL from a local folder in diffusers' layout, and encodes images and captions with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prefgen.errors import ModelError
from train.diffusion import DiffusionBatch

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DConditionModel

LENGTH = 77
SUBFOLDERS = ("unet", "vae", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


@dataclass(frozen=True)
class SDXL:
    """The frozen parts of SDXL.

    Attributes:
        unet: The denoiser.
        vae: The image autoencoder.
        scheduler: Noise schedule and prediction type.
        text_encoders: CLIP-L and CLIP-G. The pooled output of CLIP-G is SDXL's pooled text.
        tokenizers: Tokenizers of the two text encoders.
    """

    unet: UNet2DConditionModel
    vae: nn.Module
    scheduler: DDPMScheduler
    text_encoders: tuple[nn.Module, nn.Module]
    tokenizers: tuple

    def to(self, device: torch.device | str) -> SDXL:
        """Move all parts to a device, in place, and return self."""
        for module in (self.unet, self.vae, *self.text_encoders):
            module.to(device)
        return self

    @torch.no_grad()
    def encode_batch(self, images: Tensor, captions: list[str], generator: torch.Generator) -> DiffusionBatch:
        """Encode square images (B, 3, S, S) in [0, 1] and their captions. They are encoded as uncropped."""
        size = images.shape[-1]
        pixels = images.to(device=self.vae.device, dtype=self.vae.dtype) * 2 - 1
        distribution = self.vae.encode(pixels).latent_dist
        noise = torch.randn(distribution.mean.shape, generator=generator).to(distribution.mean)
        latents = (distribution.mean + distribution.std * noise) * self.vae.config.scaling_factor
        context, pooled = self.encode_text(captions)
        sizes = torch.tensor([[size, size, 0, 0, size, size]] * len(images), dtype=torch.float32)
        return DiffusionBatch(latents.float(), context, pooled, sizes)

    @torch.no_grad()
    def encode_text(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Return the concatenated penultimate states of both encoders (B, 77, C) and the pooled text (B, D)."""
        states = []
        for encoder, tokenizer in zip(self.text_encoders, self.tokenizers, strict=True):
            tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
            output = encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True)
            states.append(output.hidden_states[-2].float())
        return torch.cat(states, dim=-1), output.text_embeds.float()


def load_sdxl(folder: Path, dtype: torch.dtype = torch.float32) -> SDXL:
    """Load SDXL from a local folder. Nothing is downloaded.

    Args:
        folder: Folder in diffusers' layout.
        dtype: Precision of the UNet and the text encoders. The VAE stays in float32, because SDXL's VAE overflows in
            half precision.

    Raises:
        ModelError: A subfolder is missing or cannot be read.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    missing = [name for name in SUBFOLDERS if not (folder / name).is_dir()]
    if missing:
        raise ModelError(
            f"{folder} has no {', '.join(missing)}; expected SDXL in diffusers' layout ({', '.join(SUBFOLDERS)})."
        )

    def load(kind, name: str, **options):
        return kind.from_pretrained(folder / name, local_files_only=True, **options)

    try:
        modules = [
            load(UNet2DConditionModel, "unet", torch_dtype=dtype),
            load(AutoencoderKL, "vae"),
            load(CLIPTextModel, "text_encoder").to(dtype),
            load(CLIPTextModelWithProjection, "text_encoder_2").to(dtype),
        ]
        tokenizers = tuple(load(CLIPTokenizer, name) for name in ("tokenizer", "tokenizer_2"))
        scheduler = load(DDPMScheduler, "scheduler")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        cause = " ".join(str(error).split()[:30])
        raise ModelError(f"{folder} cannot be read ({cause}). Download it again.") from error
    unet, vae, *text_encoders = (module.requires_grad_(False).eval() for module in modules)
    return SDXL(unet, vae, scheduler, tuple(text_encoders), tokenizers)
