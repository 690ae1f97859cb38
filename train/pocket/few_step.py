"""Distils the pocket generator, including its guidance, into a LoRA for one to four sampling steps.

The teacher's outputs (many steps with guidance) are cached as pairs of noise and latents. The student learns to predict
the latents in one step (Luhman & Luhman 2021, arXiv 2101.02388) from pure noise, where ComfyUI's samplers start. For
later steps, the student learns to continue from points on its own Euler path, at the sigmas of the `simple` scheduler.
The training for later steps is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from prefgen.pocket.shapes import FEW_STEP_LORA
from train.data.posters import ATTRIBUTES
from train.evaluate.judge import Judge, load_judge
from train.evaluate.pictures.contact_sheet import to_image
from train.evaluate.pictures.tensor_cache import weights_digests
from train.loop import LoopConfig, device_of, fit
from train.pocket import lora, text
from train.pocket.bfloat16 import speed_up_bfloat16
from train.pocket.distillation_pairs import SHARD, Pairs, teacher_pairs
from train.pocket.sampling import (
    FewStepSampling,
    PocketGenerator,
    Sampling,
    denoise,
    timestep,
    unet_conditioning,
)
from train.settings import settings_digest

MOST_STEPS = 4
LOOP = LoopConfig(
    steps=800, learning_rate=2e-3, weight_decay=0.0, warmup=50, ema=0.99, save_every=100, log_every=50, bfloat16=True
)


@dataclass(frozen=True)
class FewStepConfig:
    """Settings of the distillation. The defaults are our choice.

    Attributes:
        pairs: Number of training pairs that the teacher generates, a multiple of `SHARD`.
        held_out: Number of pairs for evaluation, a multiple of `SHARD`.
        rank: Rank of the LoRA in every layer.
        batch: Number of pairs per step.
        again: Share of the pairs that also train a later step, and the weight of the loss of this step.
        huber: Distance at which the loss changes from quadratic to linear, as in LCM. A quadratic loss blurs edges.
        teacher: Sampler settings of the teacher.
        loop: Length and optimiser.
    """

    pairs: int = 4096
    held_out: int = 256
    rank: int = 8
    batch: int = 32
    again: float = 0.5
    huber: float = 0.001
    teacher: Sampling = field(default_factory=Sampling)
    loop: LoopConfig = LOOP


CONFIG = FewStepConfig()


def train(folder: Path, config: FewStepConfig = CONFIG, seed: int = 71, out: Path = FEW_STEP_LORA) -> dict:
    """Train and write the LoRA, write a contact sheet into `folder`, and return metrics on held-out pairs.

    States and pairs are cached in a folder for the generator's weights. New weights start a new distillation.
    """
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    state_folder = folder / f"few_step-{settings_digest({'files': weights_digests(), 'teacher': vars(config.teacher)})}"
    teacher = PocketGenerator.load(device)
    pairs = teacher_pairs(state_folder / "pairs", teacher, config.teacher, config.pairs, seed)
    student = lora.add_lora(speed_up_bfloat16(PocketGenerator.load(device).unet), config.rank)

    def loss_of(student, step):
        rng = np.random.default_rng([seed, step])
        return distillation_loss(student, teacher.encode, pairs, rng, config)

    student = fit(student, loss_of, config.loop, state_folder / f"rank{config.rank}")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(lora.lora_state_dict(student), out)
    held_out = teacher_pairs(state_folder / "pairs", teacher, config.teacher, config.held_out, seed + 1, whole=True)
    return measure(held_out, out, state_folder / "sheet.png")


def distillation_loss(
    student: UNet2DConditionModel,
    encode: text.TextEncoders,
    pairs: Pairs,
    rng: np.random.Generator,
    config: FewStepConfig,
) -> dict[str, Tensor]:
    """Compute the loss of a step from pure noise, and the loss of a later step for a share of the batch."""
    device, rows = device_of(student), rng.integers(len(pairs), size=config.batch)
    targets = pairs.latents[torch.from_numpy(rows)].to(device)
    with torch.no_grad():
        conditioning = unet_conditioning(encode, [pairs.captions[i] for i in rows], device)
    highest = FewStepSampling(1).sigmas()[0].item()
    start = pairs.noise(rows).to(device) * (1 + highest**2) ** 0.5
    prediction = denoise(student, start, highest, timestep(highest), conditioning).float()
    losses = {"one_step": pseudo_huber(prediction, targets, config.huber)}
    losses["loss"] = losses["one_step"]
    if more := round(config.again * len(rows)):
        sigmas = sample_later_sigmas(more, rng)
        times = torch.tensor([timestep(sigma) for sigma in sigmas.tolist()], device=device)
        sigmas = sigmas.view(-1, 1, 1, 1).to(device)
        # Take an Euler step from the initial noise to each sigma, with the student's own prediction.
        end = prediction[:more].detach()
        there = end + (start[:more] - end) / highest * sigmas
        again = denoise(student, there, sigmas, times, _first(conditioning, more)).float()
        losses["further"] = pseudo_huber(again, targets[:more], config.huber)
        losses["loss"] = losses["one_step"] + config.again * losses["further"]
    return losses


def sample_later_sigmas(count: int, rng: np.random.Generator) -> Tensor:
    """Sample sigmas (count,) that a sampler with two to four steps visits after its first step."""
    steps = rng.integers(2, MOST_STEPS + 1, size=count)
    return torch.stack([FewStepSampling(int(n)).sigmas()[rng.integers(1, n)] for n in steps])


def pseudo_huber(prediction: Tensor, target: Tensor, bend: float) -> Tensor:
    """Return the pseudo-Huber loss: the mean of sqrt(d^2 + bend^2) - bend."""
    return ((prediction - target).square() + bend**2).sqrt().mean() - bend


def _first(conditioning: dict, count: int) -> dict:
    """Return the first rows of the UNet's conditioning."""
    return {k: _first(part, count) if isinstance(part, dict) else part[:count] for k, part in conditioning.items()}


@torch.no_grad()
def measure(pairs: Pairs, file: Path, sheet: Path) -> dict:
    """Evaluate the LoRA on held-out pairs with full captions.

    Compares the teacher, the student with one, two and four steps, and the generator without the LoRA with one step.
    Writes a contact sheet with a row for each of these, and a column for each of the first eight captions.

    Returns:
        For each row of the sheet, the accuracy per attribute according to the validation judge, "sharpness" relative to
        the
        teacher, and "distance", the mean absolute difference from the teacher's image.
    """
    judge, prompted = load_judge("validation_judge"), torch.from_numpy(pairs.indices)
    student, plain = PocketGenerator.load(), PocketGenerator.load()
    lora.merge_lora(student.unet, file)
    noise = pairs.noise(np.arange(len(pairs)))
    steps_by_name = {"one_step": 1, "two_steps": 2, "four_steps": 4}
    samplers = {name: (student, steps) for name, steps in steps_by_name.items()} | {"without_lora": (plain, 1)}
    pictures = {"teacher": torch.cat([plain.decode(part) for part in pairs.latents.split(SHARD)])}
    for name, (generator, steps) in samplers.items():
        batches = zip(torch.from_numpy(np.arange(len(pairs))).split(SHARD), noise.split(SHARD), strict=True)
        painted = [
            generator.paint([pairs.captions[i] for i in rows], own, FewStepSampling(steps)) for rows, own in batches
        ]
        pictures[name] = torch.cat(painted)
    draw(pictures, sheet)
    sharp, teacher = {name: sharpness(images) for name, images in pictures.items()}, pictures["teacher"]
    figures = {
        name: {
            **attribute_accuracy(judge, images, prompted),
            "sharpness": round(sharp[name] / sharp["teacher"], 4),
            "distance": round((images - teacher).abs().mean().item(), 4),
        }
        for name, images in pictures.items()
    }
    return {**figures, "held_out": len(pairs), "bytes": file.stat().st_size}


def attribute_accuracy(judge: Judge, images: Tensor, prompted: Tensor) -> dict[str, float]:
    """Return for each attribute the share of images (N, 3, 96, 96) for which the judge predicts the caption's value."""
    read = torch.tensor([attributes.indices for part in images.split(SHARD) for attributes in judge.predict(part)])
    return {name: round(float(r), 4) for name, r in zip(ATTRIBUTES, (read == prompted).float().mean(0), strict=True)}


def sharpness(images: Tensor) -> float:
    """Return the mean absolute Laplacian of images (N, 3, H, W)."""
    middle = images[..., 1:-1, 1:-1]
    around = images[..., :-2, 1:-1] + images[..., 2:, 1:-1] + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    return (4 * middle - around).abs().mean().item()


def draw(pictures: dict[str, Tensor], sheet: Path, columns: int = 8, size: int = 144) -> None:
    """Write a contact sheet with one row for each entry of `pictures`."""
    paper = Image.new("RGB", (columns * size, len(pictures) * size))
    for line, images in enumerate(pictures.values()):
        for column, image in enumerate((images[:columns] * 255).round().byte()):
            paper.paste(to_image(image, size), (column * size, line * size))
    sheet.parent.mkdir(parents=True, exist_ok=True)
    paper.save(sheet)
