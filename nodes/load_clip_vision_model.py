"""The node PreferenceModelFromClipVision: a preference model from any CLIP_VISION, without a checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import comfy.clip_model
import comfy.model_management
import comfy.utils
import torch
import torch.nn.functional as F
from comfy.clip_vision import ClipVisionModel
from comfy_api.latest import io
from torch import Tensor

from ..prefgen.checkpoint.clip_vision_model import ClipPreferenceModel
from ..prefgen.errors import EmbeddingError, ModelError
from ..prefgen.taste.scorer import TasteScorer
from .images import to_comfy
from .inputs import check_inputs
from .sampling.inplace_autograd import FunctionalInplaceOps
from .sockets import PreferenceModelType

DIFFERENTIABLE = ("clip_vision_model", "siglip_vision_model")
"""Types of CLIP_VISION models with a preprocessing that ReNO can differentiate."""


class PreferenceModelFromClipVision(io.ComfyNode):
    """Creates a preference model that learns a taste from ratings alone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreferenceModelFromClipVision",
            display_name="Preference Model from CLIP Vision",
            category="PrefGen",
            description="Scores images by all ratings of a user, with the CLIP_VISION that you already have. Needs no "
            "checkpoint. With Preference Model from IP-Adapter, images are also painted to the user's taste.",
            search_aliases=["prefgen", "taste", "clip vision", "score", "aesthetic score", "personal score", "siglip"],
            inputs=[
                io.ClipVision.Input(
                    "clip_vision",
                    tooltip="Image encoder, for example ViT-H. To paint with an IP-Adapter, use the encoder that the "
                    "IP-Adapter was trained with.",
                ),
            ],
            outputs=[
                PreferenceModelType.Output(
                    display_name="preference_model",
                    tooltip="Preference model, for Score Images, Encode User History and ReNO Optimize.",
                )
            ],
        )

    @classmethod
    @check_inputs
    def execute(cls, clip_vision: ClipVisionModel) -> io.NodeOutput:
        scorer = TasteScorer(
            encoder=clip_vision_encoder(clip_vision, pool_tokens=True),
            device=clip_vision.load_device,
            dtype=clip_vision.dtype,
            image_size=clip_vision.image_size,
            progress=show_encoding_progress,
        )
        model = ClipPreferenceModel(f"CLIP Vision ({clip_vision.model_type})", scorer)
        model.model_patchers = {model.scorer_part: clip_vision.patcher}
        return io.NodeOutput(model)


def show_encoding_progress(total: int) -> Callable[[int], None]:
    """Show the progress of encoding rated images on the running node, and handle interrupts."""
    bar = comfy.utils.ProgressBar(total)

    def report(count: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(count)

    return report


def clip_vision_encoder(clip_vision: ClipVisionModel, pool_tokens: bool = False) -> Callable[[Tensor], Tensor]:
    """Wrap core's CLIP_VISION as a function from images (B, 3, H, W) to embeddings (B, D).

    The function is differentiable if gradients are enabled and the images require one. It raises EmbeddingError if the
    CLIP_VISION has no projection, and ModelError if it cannot be differentiated.

    Args:
        clip_vision: The encoder.
        pool_tokens: Whether to average the tokens of encoders such as SigLIP, whose pooling head core does not load.
    """

    def encode(images: Tensor) -> Tensor:
        if torch.is_grad_enabled() and images.requires_grad:
            with FunctionalInplaceOps():  # core's layers use in-place addition
                embeddings = clip_vision.model(pixel_values=preprocess(clip_vision, images), intermediate_output=-2)[2]
        else:
            with torch.inference_mode():  # core's encoder may consist of inference tensors
                embeddings = clip_vision.encode_image(to_comfy(images))["image_embeds"]
        if pool_tokens and embeddings is not None and embeddings.ndim == 3:
            embeddings = embeddings.mean(1)
        if embeddings is None or embeddings.ndim != 2:
            raise EmbeddingError(
                f"The CLIP_VISION is {clip_vision.model_type}; expected a CLIP image encoder with a projection. "
                "Load one with Load CLIP Vision."
            )
        return embeddings if embeddings.requires_grad else embeddings.clone()

    return encode


def preprocess(clip_vision: ClipVisionModel, images: Tensor) -> Tensor:
    """Preprocess images (B, 3, H, W) in [0, 1] like core, but keep the gradient, which core's rounding loses.

    Returns:
        Pixels (B, 3, S, S) with the same values as core's.

    Raises:
        ModelError: The encoder's type is not in `DIFFERENTIABLE`.
    """
    if clip_vision.model_type not in DIFFERENTIABLE:
        expected = " or ".join(DIFFERENTIABLE)
        raise ModelError(f"The CLIP_VISION is {clip_vision.model_type}; expected {expected}. Load another encoder.")
    size, options = clip_vision.image_size, {"mean": clip_vision.image_mean, "std": clip_vision.image_std}
    values = comfy.clip_model.clip_preprocess(images.detach().movedim(1, -1), size=size, **options).float()
    height, width = images.shape[-2:]
    scale = size / min(height, width)
    resized = F.interpolate(
        images, size=(round(scale * height), round(scale * width)), mode="bicubic", antialias=True, align_corners=False
    )
    top, left = ((edge - size) // 2 for edge in resized.shape[-2:])
    cropped = resized[..., top : top + size, left : left + size]
    pixels = cropped / torch.tensor(clip_vision.image_std, device=images.device)[:, None, None]
    return values + pixels - pixels.detach()


NODES = [PreferenceModelFromClipVision]
