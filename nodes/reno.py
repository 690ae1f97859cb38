"""The node ReNO Optimize, which optimises the initial noise for a user's preference score."""

from __future__ import annotations

from typing import get_args

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.history import UserHistory
from ..prefgen.reno import Optimiser, RenoConfig
from ..prefgen.rewards import Direction, Objective
from .drawing.reward_curve import draw_reward_curve
from .inputs import check_inputs
from .sampling.few_step import FewStepSampling
from .sampling.noise_optimization import NoiseOptimization
from .sampling.optimized_noise import OptimizedNoise
from .sampling.rewards import RewardSettings, weight_inputs
from .sockets import HistoryType, PreferenceModelType


class ReNOOptimize(io.ComfyNode):
    """Optimises the initial noise of a few-step generator for one user, and returns the best image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ReNOOptimize",
            display_name="ReNO Optimize",
            category="PrefGen",
            description=(
                "Optimises the initial noise for one user. Gradient ascent on the preference score runs through the "
                "VAE and the UNet."
            ),
            search_aliases=["prefgen", "noise optimisation", "reno", "reward guidance"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="A MODEL that generates images in 1 to 4 steps. Its patches stay active."
                ),
                io.Vae.Input("vae", tooltip="The VAE of the MODEL. The gradient passes through its decoder."),
                io.Conditioning.Input("positive", tooltip="Prompt of the generator."),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="Negative prompt. Required when cfg is not 1."
                ),
                io.Latent.Input(
                    "latent",
                    tooltip="Empty latent of the image size. Every image of a batch is optimised on its own.",
                ),
                PreferenceModelType.Input("preference_model", tooltip="Preference model that scores the images."),
                HistoryType.Input("history", tooltip="History of the user to optimise for."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip="Prompt passed to the preference model together with the image.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    tooltip="Seed of the initial noise.",
                ),
                io.Int.Input(
                    "iterations",
                    default=30,
                    min=1,
                    max=1000,
                    tooltip="Number of optimisation steps. 20 to 50 are usual.",
                ),
                io.Float.Input(
                    "learning_rate",
                    default=5.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="Size of the optimisation steps. 5 is usual for SGD, 0.01 to 0.1 for Adam.",
                ),
                io.Int.Input("steps", default=1, min=1, max=4, tooltip="Number of Euler sampling steps."),
                io.Float.Input(
                    "cfg",
                    default=1.0,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="Guidance scale. Distilled models need 1.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.SCHEDULER_NAMES,
                    default="simple",
                    optional=True,
                    tooltip="Spacing of the sampling steps.",
                ),
                io.Combo.Input(
                    "direction",
                    options=list(get_args(Direction)),
                    optional=True,
                    tooltip="Optimise toward what the user likes or dislikes.",
                ),
                io.Combo.Input(
                    "objective",
                    options=list(get_args(Objective)),
                    optional=True,
                    tooltip="Score: the preference score. Margin: its logit, whose gradient does not vanish near 0 "
                    "and 1.",
                ),
                *weight_inputs(),
                io.Combo.Input(
                    "optimiser",
                    options=list(get_args(Optimiser)),
                    optional=True,
                    tooltip="SGD with Nesterov momentum as in the paper, or Adam with a learning rate of 0.01 to 0.1.",
                ),
                io.Int.Input(
                    "patience",
                    default=0,
                    min=0,
                    max=1000,
                    optional=True,
                    tooltip="Stop when no image has improved for this many iterations. 0 disables early stopping.",
                ),
                io.Boolean.Input(
                    "checkpointing",
                    default=False,
                    optional=True,
                    tooltip="Gradient checkpointing. Uses several times less memory and takes about a third longer.",
                ),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip="Custom sigmas, for example from SDTurboScheduler. Overrides steps and scheduler.",
                ),
                io.Int.Input(
                    "views",
                    default=0,
                    min=0,
                    max=64,
                    optional=True,
                    tooltip="Number of augmented views (shifted, blurred, noisy) that the reward averages over. 4 "
                    "makes reward hacking harder. Each view takes as long as the reward. 0 uses the image itself.",
                ),
                io.Int.Input(
                    "num_initial_noises",
                    default=1,
                    min=1,
                    max=1000,
                    optional=True,
                    tooltip="Number of initial noises to compare. Each takes one iteration, without a gradient. The "
                    "optimisation starts from the best. With as many as iterations, it is best-of-N.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The optimised image."),
                io.Latent.Output(display_name="latent", tooltip="The latent of the optimised image."),
                io.Noise.Output(
                    display_name="noise",
                    tooltip="The optimised noise. SamplerCustomAdvanced generates the same image from it.",
                ),
                io.Image.Output(display_name="curve", tooltip="Plot of the reward by iteration."),
                io.Sigmas.Output(display_name="sigmas", tooltip="The sigmas, for SamplerCustomAdvanced."),
            ],
        )

    @classmethod
    @check_inputs
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
        direction: Direction = "like",
        objective: Objective = "score",
        optimiser: Optimiser = "sgd",
        patience: int = 0,
        checkpointing: bool = False,
        sigmas: torch.Tensor | None = None,
        views: int = 0,
        num_initial_noises: int = 1,
        **weights: float,
    ) -> io.NodeOutput:
        if sigmas is None:
            sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
        optimized = NoiseOptimization(
            FewStepSampling(model, positive, negative, latent, sigmas, cfg, seed, checkpointing),
            vae,
            RewardSettings(preference_model, history, prompt, direction, objective, weights, views, seed),
            RenoConfig(
                iterations,
                learning_rate,
                optimiser=optimiser,
                patience=patience,
                num_initial_noises=num_initial_noises,
            ),
        ).run()
        output = {key: value for key, value in latent.items() if not key.startswith("downscale_ratio")}
        result = optimized.result
        return io.NodeOutput(
            optimized.images,
            output | {"samples": optimized.latents},
            OptimizedNoise(result.noise, optimized.pictures),
            draw_reward_curve(result.curve),
            sigmas,
            ui={
                "rewards": result.curve.mT.tolist(),
                "best": result.rewards.tolist(),
                "best_iteration": result.iterations.tolist(),
                "notice": optimized.notices,
            },
        )


NODES = [ReNOOptimize]
