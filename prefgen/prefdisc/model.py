"""PrefDisc: Idefics2 with preference tokens before everything, read at one position for two labels.

method.md section 2. The input is [P_v; history; target]; M+ and M- are the label logits at the target's last position
and Q = exp M+ / (exp M+ + exp M-).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..history import UserHistory
from ..images import check_images
from ..validation import format_value
from . import shared_attention
from .config import PrefDiscSpec
from .context_window import newest_that_fit, positions_of
from .packing import Packed
from .pixels import preprocess
from .prefix import HistoryPrefix
from .template import Turns

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import Idefics2ForConditionalGeneration

CHUNK, CPU_CHUNK = 32, 8
"""Candidates in one forward, on an accelerator and on a CPU, whose caches more would overflow: what bounds the memory
of any number of them (default ours)."""


@dataclass(frozen=True)
class PackedStates:
    """What one packed forward gives.

    logits (B, T, 2, 2): for every target, for its first and second image, (M+, M-). hidden (B, S, D): the last layer's
    states. layers: the states (B, S, D) of the embedding and of every layer, where they were asked for. Logits of
    targets that a user does not have (`Packed.judged`) mean nothing.
    """

    logits: Tensor
    hidden: Tensor
    layers: tuple[Tensor, ...] = ()


class PrefDisc(nn.Module):
    """The preference model of one checkpoint.

    base: an Idefics2ForConditionalGeneration. tokens: P_v (L_p, D); None draws new ones. Raises CheckpointError where
    the spec does not fit the base: its pixels, or layers that the base has not.
    """

    def __init__(
        self,
        base: Idefics2ForConditionalGeneration,
        tokenizer: Tokenizer,
        spec: PrefDiscSpec,
        tokens: Tensor | None = None,
    ) -> None:
        super().__init__()
        patch = base.config.vision_config.patch_size
        if spec.shortest_edge < patch:
            raise CheckpointError(
                f"The checkpoint reads images down to {spec.shortest_edge} pixels, and the vision tower of {spec.base} "
                f"sees patches of {patch}: the two do not belong together."
            )
        _check_layers(spec, base.config.text_config.num_hidden_layers)
        self.spec = spec
        self.turns = Turns(spec, tokenizer)
        self.base = base
        shared_attention.install(base)
        if tokens is None:
            words = base.get_input_embeddings().weight
            tokens = torch.randn(spec.num_tokens, words.shape[1], dtype=words.dtype) * words.detach().std()
        self.tokens = nn.Parameter(tokens)

    @property
    def device(self) -> torch.device:
        """Where the weights are now."""
        return self.tokens.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights compute in. The preference tokens may be float32 over a half-precision base, and linear
        layers quantised; the embedding is neither."""
        return self.base.get_input_embeddings().weight.dtype

    def working_bytes(self, images: int) -> int:
        """About what reading or judging so many images takes beside the weights, at most: the widest layer's states of
        a forward's images, four times (default ours)."""
        vision, text = self.base.config.vision_config, self.base.config.text_config
        patches = (self.spec.longest_edge // vision.patch_size) ** 2
        widest = max(vision.intermediate_size, text.intermediate_size)
        return 4 * min(images, CHUNK) * patches * widest * self.dtype.itemsize

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> what stands for each in the text: (N, latents, D). Differentiable."""
        return self.connect(self.patches(images))

    def patches(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> the vision tower's states (N, patches, D_vision).

        The tower and the connector are called one after the other because `get_image_features` drops all-zero images
        as padding, and a mid-grey image is all zeros once normalised.
        """
        tower = self.base.model.vision_model
        # Resized in float32: half a precision's rounding of a pixel is more than the processor's.
        images = images.to(self.device, torch.promote_types(self.dtype, torch.float32))
        pixels = preprocess(images, self.spec).to(self.dtype)
        return tower(pixel_values=pixels).last_hidden_state

    def connect(self, patches: Tensor) -> Tensor:
        """The tower's states (N, patches, D_vision) -> the connector's (N, latents, D)."""
        seen = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        return self.base.model.connector(patches, attention_mask=seen)

    def encode(self, history: UserHistory | None) -> HistoryPrefix:
        """Read a history once: the KV cache of [P_v; history], detached. None: no history, P_v alone.

        Of a history longer than the base's context the newest pairs that fit are read, and a warning logged.
        Ordinary tensors whatever mode the caller is in, so that the prefix can serve a later gradient. Raises
        HistoryError where not one pair fits.
        """
        with torch.inference_mode(False), torch.no_grad():
            ids = list(self.turns.opening)
            images = []
            context = positions_of(self.base.config.text_config)
            for pair in newest_that_fit(history, self.turns, context).pairs if history else ():
                for liked in self.turns.in_order(True, False):
                    ids += self.turns.rated(pair.prompt, liked)
                images += self.turns.in_order(pair.liked, pair.disliked)
            read = self._features_of(images) if images else None
            embedded = self._behind_tokens(self._embed(torch.tensor([ids], dtype=torch.long), read))
            length = embedded.shape[1]
            if not length:
                return HistoryPrefix((), self.tokens.new_zeros(0), 0)
            output = self._text(embedded, use_cache=True, output_hidden_states=True)
            layers = tuple((layer.keys, layer.values) for layer in output.past_key_values.layers)
            hidden = torch.stack([state[0, -1] for state in output.hidden_states])
            return HistoryPrefix(layers, hidden, length, history.digest if history else "")

    def logits(
        self,
        prefix: HistoryPrefix | None,
        images: Tensor,
        prompts: str | Sequence[str] = "",
        chunk: int | None = None,
    ) -> Tensor:
        """(M+, M-) of every candidate after the history: (B, 2). Differentiable in `images`.

        prefix: from `encode`; None for no history. images (B, 3, H, W) in [0, 1]. prompts: one for all, or B.
        At most `chunk` candidates are in one forward (None: what suits the device). They share the prefix (see
        shared_attention.py), or have a copy of it each where another attention was chosen. Raises ImageError for images
        that cannot be used, PrefGenError for a prompt with half a character.
        """
        check_images(images, "The batch of candidates", batch=True)
        one = isinstance(prompts, str) or not isinstance(prompts, Iterable)  # what is no text is told where it is read
        prompts = [prompts] * len(images) if one else list(prompts)
        if len(prompts) != len(images):
            raise ValueError(f"{len(prompts)} prompts for {len(images)} candidates: give one for all, or one each")
        prefix = prefix or self.encode(None)
        chunk = chunk or (CPU_CHUNK if self.device.type == "cpu" else CHUNK)
        parts = [
            self._judge(prefix, images[start : start + chunk], prompts[start : start + chunk])
            for start in range(0, len(images), chunk)
        ]
        return torch.cat(parts)

    def score(self, prefix: HistoryPrefix | None, images: Tensor, prompts: str | Sequence[str] = "") -> Tensor:
        """Q of every candidate (B,), in [0, 1]: the probability that the user likes it."""
        return self.logits(prefix, images, prompts).softmax(-1)[:, 0]

    def forward(self, packed: Packed, features: Tensor, every_layer: bool = False) -> PackedStates:
        """One training forward over packed sequences (see packing.py).

        features (B, images, latents, D), from `features`: of each history pair the liked image's and then the disliked
        one's, then those of the targets; a user with fewer images than others has theirs first, and anything after.
        every_layer: keep the states of every layer, for probes and auxiliary losses. Raises ValueError where features
        are too few.
        """
        batch = len(packed.ids)
        if features.shape[0] != batch or features.shape[1] < packed.images:
            raise ValueError(f"features of shape {tuple(features.shape)} for {batch} users of {packed.images} images")
        if self.spec.disliked_first:
            features = packed.disliked_first(features)
        embedded = self._behind_tokens(self._embed(packed.ids, features))
        output = self._text(
            embedded,
            position_ids=packed.positions,
            attention_mask=packed.mask.to(embedded.dtype),
            use_cache=False,
            output_hidden_states=every_layer,
        )
        hidden = output.last_hidden_state
        rows = torch.arange(batch, device=hidden.device)[:, None, None]
        return PackedStates(self.label_logits(hidden[rows, packed.reads]), hidden, output.hidden_states or ())

    def label_logits(self, states: Tensor) -> Tensor:
        """Last-layer states (..., D) -> (M+, M-) (..., 2): two rows of the vocabulary matrix, never all of it."""
        return states @ self.base.lm_head.weight[list(self.turns.label_ids)].T

    def _judge(self, prefix: HistoryPrefix, images: Tensor, prompts: list[str]) -> Tensor:
        turns = [self.turns.open(prompt) for prompt in prompts]
        longest = max(map(len, turns))
        # Padded on the right: under the causal mask no real token sees the padding, and each is read at its own end.
        ids = torch.tensor([[*turn, *[0] * (longest - len(turn))] for turn in turns])
        embedded = self._embed(ids, self.features(images))
        if prefix.length and shared_attention.is_installed(self.base):
            positions = torch.arange(prefix.length, prefix.length + longest, device=self.device)[None]
            options = {"shared_prefix": prefix, "position_ids": positions}
        else:
            options = {"past_key_values": prefix.cache(len(images))}
        hidden = self._text(embedded, use_cache=False, **options).last_hidden_state
        ends = torch.tensor([len(turn) - 1 for turn in turns], device=hidden.device)
        return self.label_logits(hidden[torch.arange(len(turns), device=hidden.device), ends])

    def _features_of(self, images: list[Tensor]) -> Tensor:
        """Images of any sizes -> (N, latents, D); those of one size go through the tower together."""
        if any(image.shape != images[0].shape for image in images):
            return torch.cat([self.features(image[None]) for image in images])
        return torch.cat([self.features(part) for part in torch.stack(images).split(CHUNK)])

    def _embed(self, ids: Tensor, features: Tensor | None) -> Tensor:
        """Token ids (B, S) -> embeddings (B, S, D), with each row's image features where its image tokens stand, in
        order. features (B, images, latents, D), or (images, latents, D) for a batch that has one sequence, or as many
        images as sequences."""
        ids = ids.to(self.device)
        embedded = self.base.get_input_embeddings()(ids)
        if features is None:
            return embedded
        shown = features.to(embedded.dtype).reshape(len(ids), -1, embedded.shape[-1])
        here = ids == self.turns.image_id
        # Row by row, so that a user with fewer images than the others does not take the next one's.
        place = (here.cumsum(1) - 1).clamp(0, shown.shape[1] - 1)
        return torch.where(here[..., None], shown.gather(1, place[..., None].expand_as(embedded)), embedded)

    def _behind_tokens(self, embedded: Tensor) -> Tensor:
        """(B, S, D) -> (B, L_p + S, D), with the preference tokens in front."""
        tokens = self.tokens.to(embedded.dtype).expand(len(embedded), -1, -1)
        return torch.cat([tokens, embedded], dim=1)

    def _text(self, embedded: Tensor, **options):
        return self.base.model.text_model(inputs_embeds=embedded, **options)


def _check_layers(spec: PrefDiscSpec, count: int) -> None:
    for part, layers in (("sem", spec.sem_layers), ("core", spec.core_layers)):
        listed = isinstance(layers, tuple) and layers
        if not listed or not all(type(layer) is int and 0 <= layer <= count for layer in layers):
            found = format_value(list(layers) if isinstance(layers, tuple) else layers)
            raise CheckpointError(
                f"The checkpoint reads {part} out of the layers {found}, and the base model {spec.base} has 0 to "
                f"{count}: the two do not belong together, get the checkpoint again."
            )
