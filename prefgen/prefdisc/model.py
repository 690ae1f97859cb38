"""PrefDisc, the preference model: an Idefics2 with preference tokens that predicts whether a user likes an image.

Implements paper index section 2. The input is [P_v; history; target]. M+ and M- are the logits of the two labels at the
target's last position, and the score is Q = exp M+ / (exp M+ + exp M-).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..history import UserHistory
from ..images import check_images
from ..validation import format_value, matches_type
from . import shared_attention
from .config import PrefDiscSpec
from .context_window import max_positions, truncate_to_context
from .packing import PackedBatch, PackedStates
from .pixels import preprocess
from .prefix import HistoryPrefix
from .template import ChatTemplate
from .vision_positions import vision_states

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import Idefics2ForConditionalGeneration

CHUNK_SIZE, CPU_CHUNK_SIZE = 32, 8
"""Candidates in one forward pass, on an accelerator and on a CPU, whose caches overflow with more. They bound the
memory of scoring many candidates. Our defaults."""


class PrefDisc(nn.Module):
    """The preference model of one checkpoint.

    Args:
        base: The Idefics2.
        tokenizer: Its tokenizer.
        spec: The configuration.
        tokens: Preference tokens P_v, (L_p, D). None draws random ones.

    Raises:
        CheckpointError: The spec does not match the base's patch size or number of layers.
    """

    def __init__(
        self,
        base: Idefics2ForConditionalGeneration,
        tokenizer: Tokenizer,
        spec: PrefDiscSpec,
        tokens: Tensor | None = None,
    ) -> None:
        super().__init__()
        _check_spec(spec, base)
        self.spec = spec
        self.template = ChatTemplate(spec, tokenizer)
        self.base = base
        shared_attention.use_shared_attention(base)
        if tokens is None:
            embeddings = base.get_input_embeddings().weight
            shape = spec.num_tokens, embeddings.shape[1]
            tokens = torch.randn(shape, dtype=embeddings.dtype) * embeddings.detach().std()
        self.tokens = nn.Parameter(tokens)

    @property
    def device(self) -> torch.device:
        """Current device of the weights."""
        return self.tokens.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the computation. Linear layers may be quantised, and preference tokens may stay float32."""
        return self.base.get_input_embeddings().weight.dtype

    def digest(self, history: UserHistory) -> str:
        """Return the digest of everything that `encode` depends on: the pairs."""
        return history.digest

    def working_bytes(self, images: int) -> int:
        """Estimate the memory that encoding or scoring images needs in addition to the weights.

        Counts four times the widest layer's states of one forward pass. Our choice.
        """
        vision, text = self.base.config.vision_config, self.base.config.text_config
        patches = (self.spec.longest_edge // vision.patch_size) ** 2
        widest = max(vision.intermediate_size, text.intermediate_size)
        return 4 * min(images, CHUNK_SIZE) * patches * widest * self.dtype.itemsize

    def features(self, images: Tensor) -> Tensor:
        """Compute the embeddings that stand for images in the text. Differentiable.

        Args:
            images: (N, 3, H, W) in [0, 1].

        Returns:
            (N, latents, D).
        """
        return self.connect(self.patch_states(images))

    def patch_states(self, images: Tensor) -> Tensor:
        """Compute the vision tower's states (N, patches, D_vision) of images (N, 3, H, W) in [0, 1].

        Calls the tower's parts, because `get_image_features` drops all-zero images as padding, and a mid-grey image is
        all zeros after normalisation. The positions of patches are our own (see vision_positions.py).
        """
        # Resize in float32: rounding pixels to half precision changes more than the processor's own rounding.
        images = images.to(self.device, torch.promote_types(self.dtype, torch.float32))
        pixels = preprocess(images, self.spec).to(self.dtype)
        return vision_states(self.base.model.vision_model, pixels)

    def connect(self, patches: Tensor) -> Tensor:
        """Compute the connector's latents (N, latents, D) of the tower's states (N, patches, D_vision)."""
        mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        return self.base.model.connector(patches, attention_mask=mask)

    def encode(self, history: UserHistory | None) -> HistoryPrefix:
        """Encode [P_v; history] once, detached.

        Keeps the newest pairs of a history that is longer than the base's context, and logs a warning. The result
        consists of ordinary tensors even in inference mode, so that it can serve later gradients.

        Args:
            history: The user's history. None encodes the preference tokens alone.

        Raises:
            HistoryError: Not even the newest pair fits into the context.
        """
        with torch.inference_mode(False), torch.no_grad():
            ids, images = list(self.template.opening_ids), []
            positions = max_positions(self.base.config.text_config)
            for pair in truncate_to_context(history, self.template, positions).pairs if history else ():
                for liked in self.template.order_pair(True, False):
                    ids += self.template.labelled_turn(pair.prompt, liked, first=not images)
                    images.append(pair.liked if liked else pair.disliked)
            features = self._features_of_any_size(images) if images else None
            embedded = self._prepend_tokens(self._embed(torch.tensor([ids], dtype=torch.long), features))
            length = embedded.shape[1]
            if not length:
                return HistoryPrefix((), self.tokens.new_zeros(0), 0)
            output = self._text_model(embedded, use_cache=True, output_hidden_states=True)
            layers = tuple((layer.keys, layer.values) for layer in output.past_key_values.layers)
            hidden = torch.stack([state[0, -1] for state in output.hidden_states])
            return HistoryPrefix(layers, hidden, length, history.digest if history else "")

    def logits(
        self,
        prefix: HistoryPrefix | None,
        images: Tensor,
        prompts: str | Sequence[str] = "",
        chunk_size: int | None = None,
    ) -> Tensor:
        """Compute the label logits of candidates after a history. Differentiable in `images`.

        Candidates share the prefix (see shared_attention.py). With another attention implementation each one gets a
        copy of it.

        Args:
            prefix: The encoded history, from `encode`. None for no history.
            images: Candidates, (B, 3, H, W) in [0, 1].
            prompts: One prompt for all candidates, or B prompts.
            chunk_size: Maximum number of candidates in one forward pass. None chooses by the device.

        Returns:
            (M+, M-) of each candidate, (B, 2).

        Raises:
            ImageError: An image is unusable.
            PrefGenError: A prompt is not valid text.
        """
        check_images(images, "The batch of candidates", batch=True)
        # A value that is not text at all is refused where the template reads it.
        single = isinstance(prompts, str) or not isinstance(prompts, Iterable)
        prompts = [prompts] * len(images) if single else list(prompts)
        if len(prompts) != len(images):
            raise ValueError(f"Found {len(prompts)} prompts for {len(images)} candidates; expected one, or one each.")
        prefix = prefix or self.encode(None)
        chunk_size = chunk_size or (CPU_CHUNK_SIZE if self.device.type == "cpu" else CHUNK_SIZE)
        parts = [
            self._chunk_logits(prefix, images[start : start + chunk_size], prompts[start : start + chunk_size])
            for start in range(0, len(images), chunk_size)
        ]
        return torch.cat(parts)

    def score(self, prefix: HistoryPrefix | None, images: Tensor, prompts: str | Sequence[str] = "") -> Tensor:
        """Compute Q (B,) in [0, 1], the probability that the user likes each candidate. Takes what `logits` takes."""
        return self.logits(prefix, images, prompts).softmax(-1)[:, 0]

    def forward(self, packed: PackedBatch, features: Tensor, every_layer: bool = False) -> PackedStates:
        """Compute the label logits of a packed batch, for training.

        Args:
            packed: The batch, from `pack`.
            features: Image features (B, images, latents, D), from `features`. Each history pair's liked image comes
                first, and all history images come before the targets. Users with fewer images have padding at the end.
            every_layer: Whether to return the states of every layer, for probes and auxiliary losses.

        Raises:
            ValueError: There are too few features.
        """
        batch = len(packed.ids)
        if features.shape[0] != batch or features.shape[1] < packed.num_images:
            raise ValueError(f"features have shape {tuple(features.shape)}; expected {batch} x {packed.num_images}.")
        embedded = self._prepend_tokens(self._embed(packed.ids, packed.order_features(features)))
        output = self._text_model(
            embedded,
            position_ids=packed.positions,
            attention_mask=packed.mask.to(embedded.dtype),
            use_cache=False,
            output_hidden_states=every_layer,
        )
        hidden = output.last_hidden_state
        rows = torch.arange(batch, device=hidden.device)[:, None, None]
        logits = self.label_logits(hidden[rows, packed.prediction_positions])
        return PackedStates(logits, hidden, output.hidden_states or ())

    def label_logits(self, states: Tensor) -> Tensor:
        """Compute (M+, M-) (..., 2) of last-layer states (..., D), from two rows of the vocabulary matrix."""
        return states @ self.base.lm_head.weight[list(self.template.label_ids)].T

    def _chunk_logits(self, prefix: HistoryPrefix, images: Tensor, prompts: list[str]) -> Tensor:
        turns = [self.template.unlabelled_turn(prompt, not prefix.digest) for prompt in prompts]
        longest = max(map(len, turns))
        # Padding is on the right: the causal mask hides it, and each turn is read at its own end.
        ids = torch.tensor([[*turn, *[0] * (longest - len(turn))] for turn in turns])
        embedded = self._embed(ids, self.features(images))
        if prefix.length and shared_attention.uses_shared_attention(self.base):
            positions = torch.arange(prefix.length, prefix.length + longest, device=self.device)[None]
            options = {"shared_prefix": prefix, "position_ids": positions}
        else:
            options = {"past_key_values": prefix.to_dynamic_cache(len(images))}
        hidden = self._text_model(embedded, use_cache=False, **options).last_hidden_state
        ends = torch.tensor([len(turn) - 1 for turn in turns], device=hidden.device)
        return self.label_logits(hidden[torch.arange(len(turns), device=hidden.device), ends])

    def _features_of_any_size(self, images: list[Tensor]) -> Tensor:
        """Compute the features (N, latents, D) of images; in batches if all have one size."""
        if any(image.shape != images[0].shape for image in images):
            return torch.cat([self.features(image[None]) for image in images])
        return torch.cat([self.features(part) for part in torch.stack(images).split(CHUNK_SIZE)])

    def _embed(self, ids: Tensor, features: Tensor | None) -> Tensor:
        """Embed token ids (B, S) as (B, S, D), and replace the image tokens of each row by its features, in order.

        Features are (B, images, latents, D), or (images, latents, D) for one sequence or one image per sequence.
        """
        ids = ids.to(self.device)
        embedded = self.base.get_input_embeddings()(ids)
        if features is None:
            return embedded
        features = features.to(embedded.dtype).reshape(len(ids), -1, embedded.shape[-1])
        is_image = ids == self.template.image_id
        # Index within each row, so that a user with fewer images does not take the next user's.
        index = (is_image.cumsum(1) - 1).clamp(0, features.shape[1] - 1)
        return torch.where(is_image[..., None], features.gather(1, index[..., None].expand_as(embedded)), embedded)

    def _prepend_tokens(self, embedded: Tensor) -> Tensor:
        """Put the preference tokens before embeddings: (B, S, D) -> (B, L_p + S, D)."""
        tokens = self.tokens.to(embedded.dtype).expand(len(embedded), -1, -1)
        return torch.cat([tokens, embedded], dim=1)

    def _text_model(self, embedded: Tensor, **options):
        return self.base.model.text_model(inputs_embeds=embedded, **options)


def _check_spec(spec: PrefDiscSpec, base: Idefics2ForConditionalGeneration) -> None:
    """Raise CheckpointError unless a spec is compatible with a base model."""
    patch, count = base.config.vision_config.patch_size, base.config.text_config.num_hidden_layers
    fits = {"shortest_edge": spec.shortest_edge >= patch, "square": spec.square >= patch or not spec.square}
    for name in ("sem_layers", "core_layers"):
        layers = getattr(spec, name)
        fits[name] = matches_type(layers, tuple[int, ...]) and layers and all(0 <= layer <= count for layer in layers)
    for name in (name for name, fit in fits.items() if not fit):
        expected = f"layers 0 to {count}" if name.endswith("layers") else f"at least {patch} pixels"
        raise CheckpointError(f"The checkpoint's {name} is {format_value(getattr(spec, name))}; expected {expected}.")
