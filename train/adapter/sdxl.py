"""SDXL from a local folder in diffusers' layout, as the adapter's training needs it. Nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prefgen.errors import ModelError
from train.diffusion import Painted

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DConditionModel

LENGTH = 77
NEEDED = ("unet", "vae", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


@dataclass(frozen=True)
class SDXL:
    """The parts, frozen. towers, tokenizers: first clip_l, then clip_g, whose pooled text is SDXL's."""

    unet: UNet2DConditionModel
    vae: nn.Module
    scheduler: DDPMScheduler
    towers: tuple[nn.Module, nn.Module]
    tokenizers: tuple

    def to(self, device: torch.device | str) -> SDXL:
        """Itself, its parts moved to a device in place."""
        for module in (self.unet, self.vae, *self.towers):
            module.to(device)
        return self

    @torch.no_grad()
    def painted(self, images: Tensor, captions: list[str], generator: torch.Generator) -> Painted:
        """Square images (B, 3, S, S) in [0, 1] and their captions -> what the UNet is to paint, without crops."""
        size = images.shape[-1]
        place = {"device": self.vae.device, "dtype": self.vae.dtype}
        known = self.vae.encode(images.to(**place) * 2 - 1).latent_dist
        noise = torch.randn(known.mean.shape, generator=generator).to(known.mean)
        latents = (known.mean + known.std * noise) * self.vae.config.scaling_factor
        context, pooled = self.texts(captions)
        sizes = torch.tensor([[size, size, 0, 0, size, size]] * len(images), dtype=torch.float32)
        return Painted(latents.float(), context, pooled, sizes)

    @torch.no_grad()
    def texts(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Captions -> the penultimate states of both towers side by side (B, 77, C), and the pooled text (B, D)."""
        states = []
        for tower, tokenizer in zip(self.towers, self.tokenizers, strict=True):
            given = tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
            read = tower(given.input_ids.to(tower.device), output_hidden_states=True)
            states.append(read.hidden_states[-2].float())
        return torch.cat(states, dim=-1), read.text_embeds.float()


def load_sdxl(folder: Path, dtype: torch.dtype = torch.float32) -> SDXL:
    """Read the parts. dtype: of the UNet and the towers; the VAE stays float32, since SDXL's overflows in half.

    Raises ModelError naming the folders that are missing, or what could not be read.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    missing = [name for name in NEEDED if not (folder / name).is_dir()]
    if missing:
        raise ModelError(
            f"{folder} lacks {', '.join(missing)}, expected SDXL in diffusers' layout ({', '.join(NEEDED)}): name "
            "another folder."
        )

    def read(kind, name: str, **options):
        return kind.from_pretrained(folder / name, local_files_only=True, **options)

    try:
        modules = [
            read(UNet2DConditionModel, "unet", torch_dtype=dtype),
            read(AutoencoderKL, "vae"),
            read(CLIPTextModel, "text_encoder").to(dtype),
            read(CLIPTextModelWithProjection, "text_encoder_2").to(dtype),
        ]
        tokenizers = tuple(read(CLIPTokenizer, name) for name in ("tokenizer", "tokenizer_2"))
        scheduler = read(DDPMScheduler, "scheduler")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{folder} could not be read ({' '.join(str(error).split()[:30])}): get it again.") from error
    unet, vae, *towers = (module.requires_grad_(False).eval() for module in modules)
    return SDXL(unet, vae, scheduler, tuple(towers), tokenizers)
