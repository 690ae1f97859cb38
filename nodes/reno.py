"""ReNOOptimize: the initial noise, optimised for one person's preference score."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import comfy.model_management
import comfy.samplers
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.errors import ModelError
from ..prefgen.history import UserHistory
from ..prefgen.reno import Optimiser, RenoConfig, RenoResult, RenoStep, optimise
from ..prefgen.rewards import By, PreferenceReward, Reward, Sense, SeveralViews
from .drawing.reward_curve import curve_image
from .memory.model_management import patchers, ready
from .reward_models import reward_patchers, summed, weight_inputs
from .sampling.diagnostics import check_painted, enough_memory, notice_of, notice_of_another, stateless
from .sampling.few_step import (
    FewSteps,
    Render,
    check_decoder,
    compute_dtype,
    gradients,
    load_decoder,
    make_differentiable,
)
from .sockets import HistoryType, PreferenceModelType
from .validation import check_steps

LOSS_SCALE = 2.0**12
"""Where something computes in float16, whose least number is 6e-8 (default ours; see `RenoConfig.loss_scale`)."""

LESS_MEMORY = "lower the latent's width, height or batch, or the steps, or turn checkpointing on"


log = logging.getLogger(__name__)


class OptimisedNoise:
    """A core NOISE: the optimised noise, for whichever latent of its shape."""

    def __init__(self, noise: torch.Tensor, seed: int) -> None:
        self.noise = noise
        self.seed = seed

    def generate_noise(self, input_latent: dict) -> torch.Tensor:
        """What core's samplers call.

        Raises:
            ModelError: the latent has another shape than the one that the noise was optimised for.
        """
        shape = input_latent["samples"].shape
        if shape != self.noise.shape:
            raise ModelError(
                f"The latent has shape {tuple(shape)} and this noise was optimised for {tuple(self.noise.shape)}: "
                "connect the latent that went into ReNO Optimize."
            )
        return self.noise


class ReNOOptimize(io.ComfyNode):
    """A few-step generator, a person's history and a prompt in; the image whose noise was optimised for them out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ReNOOptimize",
            display_name="ReNO Optimize",
            category="PrefGen",
            description=(
                "Optimises the initial noise by gradient ascent on the preference score, through the UNet and the VAE: "
                "the seed's image, moved toward one person's taste."
            ),
            search_aliases=["prefgen", "noise optimisation", "reno", "reward guidance"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="The generator, best one that paints in 1 to 4 steps. Patches are kept."
                ),
                io.Vae.Input("vae", tooltip="The generator's VAE; the gradient passes through its decoder."),
                io.Conditioning.Input("positive", tooltip="The prompt to paint."),
                io.Conditioning.Input("negative", optional=True, tooltip="Needed where cfg is not 1."),
                io.Latent.Input(
                    "latent", tooltip="An empty latent of the wanted size; a batch optimises each of its seeds."
                ),
                PreferenceModelType.Input(
                    "preference_model", tooltip="The preference checkpoint that scores the images."
                ),
                HistoryType.Input("history", tooltip="Whose taste to optimise for."),
                io.String.Input(
                    "prompt", default="", multiline=True, tooltip="The prompt, as the preference model is told it."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    tooltip="Of the noise to start from.",
                ),
                io.Int.Input(
                    "iterations", default=30, min=1, max=1000, tooltip="How often the image is painted and judged."
                ),
                io.Float.Input(
                    "learning_rate",
                    default=5.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="How far the noise moves each time.",
                ),
                io.Int.Input("steps", default=1, min=1, max=4, tooltip="Euler steps of the generator."),
                io.Float.Input("cfg", default=1.0, min=0.0, max=30.0, step=0.1, tooltip="1 for distilled models."),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.SCHEDULER_NAMES,
                    default="simple",
                    optional=True,
                    tooltip="How the steps' sigmas are spaced.",
                ),
                io.Combo.Input(
                    "sense",
                    options=list(get_args(Sense)),
                    optional=True,
                    tooltip="Toward what the person likes, or what they dislike.",
                ),
                io.Combo.Input(
                    "reward",
                    options=list(get_args(By)),
                    optional=True,
                    tooltip="Optimise the score itself, or its logit margin, whose gradient does not fade at the ends.",
                ),
                *weight_inputs(),
                io.Combo.Input(
                    "optimiser",
                    options=list(get_args(Optimiser)),
                    optional=True,
                    tooltip="SGD with Nesterov momentum, as published, or Adam, with a learning rate of 0.01 to 0.1.",
                ),
                io.Int.Input(
                    "patience",
                    default=0,
                    min=0,
                    max=1000,
                    optional=True,
                    tooltip="End once no image of the batch has become better in so many iterations; 0 never does.",
                ),
                io.Boolean.Input(
                    "checkpointing",
                    default=False,
                    optional=True,
                    tooltip="Gradient checkpointing: several times less memory, for about a third more time.",
                ),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip="In place of steps and scheduler: from SDTurboScheduler, say.",
                ),
                io.Int.Input(
                    "views",
                    default=0,
                    min=0,
                    max=64,
                    optional=True,
                    tooltip="Views of each image, shifted, blurred and noisy, that the reward is the mean of: with "
                    "4, fewer tricks that please the score alone. Each takes the rewards' time; 0 is the image itself.",
                ),
                io.Int.Input(
                    "starts",
                    default=1,
                    min=1,
                    max=1000,
                    optional=True,
                    tooltip="Noises to start from the best of: each takes one of the iterations, a short one without "
                    "gradient. 1 climbs from the seed's own; as many as there are iterations is best-of-N.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The optimised image."),
                io.Latent.Output(display_name="latent", tooltip="The optimised image, before the VAE."),
                io.Noise.Output(
                    display_name="noise",
                    tooltip="The optimised noise: SamplerCustomAdvanced paints the same image from it.",
                ),
                io.Image.Output(display_name="curve", tooltip="The reward by iteration."),
                io.Sigmas.Output(display_name="sigmas", tooltip="The steps' sigmas, for SamplerCustomAdvanced."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        positive: list,
        latent: dict,
        preference_model: PreferenceModel,
        history: UserHistory,
        prompt: str,
        seed: int,
        iterations: int,
        learning_rate: float,
        steps: int,
        cfg: float,
        negative: list | None = None,
        scheduler: str = "simple",
        sense: Sense = "like",
        reward: By = "score",
        optimiser: Optimiser = "sgd",
        patience: int = 0,
        checkpointing: bool = False,
        sigmas: torch.Tensor | None = None,
        views: int = 0,
        starts: int = 1,
        **weights: float,
    ) -> io.NodeOutput:
        config = RenoConfig(iterations, learning_rate, optimiser=optimiser, patience=patience, starts=starts)
        check_decoder(vae, model)
        if sigmas is None:
            check_steps(steps)
            sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
        graph = FewSteps(model, positive, negative, latent, sigmas, cfg, seed, checkpointing)
        size = " x ".join(map(str, graph.start.shape))
        with (
            enough_memory(f"optimising noise of {size} in {len(sigmas) - 1} steps", LESS_MEMORY),
            gradients(),
            stateless(),
        ):
            prefdisc = ready(preference_model, "prefdisc", whole=True).require("prefdisc")
            make_differentiable(prefdisc)
            liked = PreferenceReward(prefdisc, preference_model.read(history), prompt, sense, reward)
            if torch.float16 in (compute_dtype(model), vae.vae_dtype, prefdisc.dtype):
                config = replace(config, loss_scale=LOSS_SCALE)
            total = summed(liked, weights, prompt)
            beside = [*patchers(preference_model, "prefdisc"), *reward_patchers()]
            result, notice = climb(graph, vae, SeveralViews(total, views, seed) if views else total, config, beside)
        samples = graph.paint(result.noise)
        images = vae.decode(samples)
        if another := notice_of_another(images, result.images):
            log.warning(another)
        out = {key: value for key, value in latent.items() if not key.startswith("downscale_ratio")}
        return io.NodeOutput(
            images,
            out | {"samples": samples},
            OptimisedNoise(result.noise, seed),
            curve_image(result.curve),
            sigmas,
            ui={
                "rewards": result.curve.mT.tolist(),
                "best": result.rewards.tolist(),
                "best_iteration": result.iterations.tolist(),
                "notice": list(filter(None, (notice, another))),
            },
        )


def climb(
    graph: FewSteps, vae: VAE, reward: Reward, config: RenoConfig, beside: Sequence[ModelPatcher] = ()
) -> tuple[RenoResult, str]:
    """Optimise the graph's noise, with progress and previews; an interrupt ends it. With it goes a notice about the
    MODEL, "" where there is none to give. beside: what the reward computes with."""
    show = latent_preview.prepare_callback(graph.model, config.iterations)
    notice = ""

    def work(noise: torch.Tensor, render: Render) -> RenoResult:
        decode = load_decoder(vae, graph.recompute, beside)
        painted = noise  # the latents of the last image, for the preview

        def generate(noise: torch.Tensor) -> torch.Tensor:
            nonlocal painted
            latents = render(noise)
            check_painted(latents)
            painted = graph.model.model.process_latent_in(latents.detach())
            return decode(latents)

        def on_step(step: RenoStep) -> None:
            nonlocal notice
            comfy.model_management.throw_exception_if_processing_interrupted()
            if step.index == 0 and (notice := notice_of(painted, len(graph.sigmas) - 1)):
                log.warning(notice)
            show(step.index, painted, None, step.total)

        return optimise(noise, generate, reward, config, on_step, graph.fresh_noise)

    return graph.differentiate(graph.seed_noise().clone(), work).cpu(), notice


NODES = [ReNOOptimize]
