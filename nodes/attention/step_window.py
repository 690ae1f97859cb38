"""Limits attention patches to a range of denoising steps."""

from __future__ import annotations

from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor


def add_step_window(model: ModelPatcher, start_percent: float, end_percent: float) -> str:
    """Patch `model` in place, so that it records at every step whether the step is in a range of the denoising.

    Args:
        start_percent, end_percent: Range as fractions of the denoising, 0 to 1.

    Returns:
        The key in transformer_options under which the result is stored.
    """
    key = f"prefgen_window_{len(model.get_wrappers(WrappersMP.APPLY_MODEL, 'prefgen'))}"
    sampling = model.get_model_object("model_sampling")
    window = StepWindow(key, sampling.percent_to_sigma(start_percent), sampling.percent_to_sigma(end_percent))
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "prefgen", window)
    return key


@dataclass(frozen=True)
class StepWindow:
    """An APPLY_MODEL wrapper that compares the step's sigma with a range.

    The comparison runs once per step, because reading a sigma waits for the device; all blocks use the recorded result.
    It runs outside the UNet, because the UNet may be compiled.
    """

    key: str
    sigma_start: float
    sigma_end: float

    def __call__(self, executor, x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs) -> Tensor:
        sigma = float(transformer_options["sigmas"].max())
        transformer_options[self.key] = self.sigma_end <= sigma <= self.sigma_start
        return executor(x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)
