"""Optimise the initial noise of a one-step diffusers pipeline until its picture scores higher for a person (ReNO)."""

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.utils import numpy_to_pil

import prefgen


def one_step_generator(pipe: StableDiffusionXLPipeline, prompt: str, size: int):
    """Return a differentiable function from noise (B, 4, size / 8, size / 8) to images (B, 3, size, size) in [0, 1]."""
    with torch.no_grad():
        embeds, _, pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
    size_ids = torch.tensor([[size, size, 0, 0, size, size]], dtype=embeds.dtype)
    pipe.scheduler.set_timesteps(1)
    (timestep,) = pipe.scheduler.timesteps

    def generate(noise: torch.Tensor) -> torch.Tensor:
        pipe.scheduler._step_index = None  # the scheduler counts steps; every call is the first one
        latents = noise * pipe.scheduler.init_noise_sigma
        batch = len(noise)
        conditions = {"text_embeds": pooled.expand(batch, -1), "time_ids": size_ids.expand(batch, -1)}
        prediction = pipe.unet(
            pipe.scheduler.scale_model_input(latents, timestep),
            timestep,
            encoder_hidden_states=embeds.expand(batch, -1, -1),
            added_cond_kwargs=conditions,
        ).sample
        latents = pipe.scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        return (decoded / 2 + 0.5).clamp(0, 1)

    return generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", required=True, help="one-step SDXL pipeline: folder or cached id")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--user", default="ada", help="a bundled person, or a folder with pairs.json")
    parser.add_argument("--checkpoint", default="pocket", help="preference checkpoint")
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--size", type=int, default=512, help="pixels")
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial noise")
    parser.add_argument("--out", type=Path, default=Path("optimized.png"), help="output file")
    options = parser.parse_args()

    pipe = StableDiffusionXLPipeline.from_pretrained(options.pipeline, local_files_only=True)
    pipe.unet.requires_grad_(False)
    pipe.vae.requires_grad_(False)
    model = prefgen.load_preference_model(options.checkpoint)
    folder = Path(options.user)
    history = prefgen.UserHistory.from_folder(folder) if folder.is_dir() else prefgen.bundled_history(options.user)
    reward = prefgen.PreferenceReward(model.prefdisc, model.encode_history(history), options.prompt)

    shape = (1, pipe.unet.config.in_channels, options.size // 8, options.size // 8)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(options.seed))
    result = prefgen.optimize_noise(
        noise,
        one_step_generator(pipe, options.prompt, options.size),
        reward,
        prefgen.RenoConfig(iterations=options.iterations),
        on_step=lambda step: print(f"{step.index + 1}/{step.total}  best score {step.best_rewards.max():.3f}"),
    )
    numpy_to_pil(result.images.movedim(1, -1).numpy())[0].save(options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()
