"""Draws from the pocket generator outside ComfyUI, to look at it while it trains."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from train.pocket import generator, text, vae


@torch.no_grad()
def sample(unet, prompts: list[str], seed: int = 0, steps: int = 10, cfg: float = 3.0, user=None) -> Tensor:
    """Images (B, 3, 96, 96) in [0, 1], by DDIM with classifier-free guidance.

    Args:
        user: a context that puts user tokens in place for a forward of 2B rows (prompts first, then empty), or None.
    """
    scheduler = DDIMScheduler.from_config(generator.schedule().config, timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(steps)
    context, pooled = text.load()(prompts + [""] * len(prompts))
    added = {"text_embeds": pooled, "time_ids": generator.sizes(2 * len(prompts))}
    latents = torch.randn(len(prompts), 4, 12, 12, generator=torch.Generator().manual_seed(seed))
    for t in scheduler.timesteps:
        rows = torch.cat([latents, latents])
        if user is None:
            made = unet(rows, t, context, added_cond_kwargs=added, return_dict=False)[0]
        else:
            with user():
                made = unet(rows, t, context, added_cond_kwargs=added, return_dict=False)[0]
        cond, uncond = made.chunk(2)
        latents = scheduler.step(torch.lerp(uncond, cond, cfg), t, latents, return_dict=False)[0]
    return vae.load().decode(latents).clamp(0, 1)
