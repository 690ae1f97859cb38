"""Names the patches on a MODEL that may have caused a gradient with NaN or infinite values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from comfy.model_patcher import ModelPatcher

from ....prefgen.errors import ModelError, NonfiniteGradientError

DEEP_SHRINK = "PatchModelAddDownscale"
"""The node whose upscale method bislerp has no finite gradient: it computes the arc cosine of 1."""


@contextmanager
def explain_nonfinite_gradients(model: ModelPatcher, loss_scale: float) -> Iterator[None]:
    """Turn a NonfiniteGradientError into a ModelError that names the patches on the MODEL.

    Args:
        model: The MODEL that generates the images.
        loss_scale: 1 if no model computes in float16. Otherwise an overflow of float16 is the likely cause.
    """
    try:
        yield
    except NonfiniteGradientError as error:
        nodes = patching_nodes(model)
        if loss_scale > 1 or not nodes:
            raise
        remedy = "Remove the patches one by one"
        if DEEP_SHRINK in nodes:
            remedy = f"Set the upscale_method of {DEEP_SHRINK} to bicubic if it is bislerp, or remove the patches"
        message = str(error).partition(".")[0]
        raise ModelError(
            f"{message}, probably because of the MODEL's patches ({', '.join(nodes)}). {remedy}."
        ) from error


def patching_nodes(model: ModelPatcher) -> list[str]:
    """Return the names of the classes whose functions patch the MODEL's blocks."""
    patches = model.model_options["transformer_options"].get("patches", {})
    functions = [patch for group in patches.values() for patch in group] if isinstance(patches, Mapping) else []
    return sorted({getattr(patch, "__qualname__", type(patch).__qualname__).partition(".")[0] for patch in functions})
