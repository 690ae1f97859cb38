"""Wraps PrefDisc as a module for transformers' Trainer. The module maps a batch to the logits of both targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.packing import PackedBatch
from prefgen.prefdisc.prefix import HistoryPrefix

MIN_SPLIT_TOKENS = 512
"""Minimum length of sequences that are processed separately, because of their costly attention. It is our choice."""


class Learner(nn.Module):
    """PrefDisc on packed batches. The tokens of a history are processed once for both targets.

    Args:
        prefdisc: The model.
        logits: "vocabulary" returns logits of the whole vocabulary, "labels" only those of + and -.
        split_long: Whether to process long sequences one at a time: first the history, and then both targets with the
            keys and values of the history. Logits and gradients are the same as for a packed sequence, but the masked
            half of the attention is not computed. Not possible with recomputed activations, because these keep no keys
            and values.
    """

    def __init__(self, prefdisc: PrefDisc, logits: str = "vocabulary", split_long: bool = True) -> None:
        super().__init__()
        self.prefdisc = prefdisc
        self.logits = logits
        self.split_long = split_long

    @property
    def labels(self) -> tuple[int, int]:
        """Columns of + and - in the result of `forward`."""
        return self.prefdisc.template.label_ids if self.logits == "vocabulary" else (0, 1)

    def forward(
        self,
        packed: PackedBatch,
        counts: tuple[int, ...],
        images: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """Compute the logits (B, 2, V) at the last position of the liked and the disliked target of each sequence.

        Args:
            packed: Packed token sequences.
            counts: Number of images of each sequence.
            images: Images of all sequences in order, (N, 3, H, W).
            features: Image features in the same order, (N, latents, D), instead of `images`.
        """
        packed = packed.to(self.prefdisc.device)
        if features is None:
            features = self.prefdisc.features(images)
        # Padding is only needed if histories have different lengths.
        features = pad_sequence(features.split(counts), batch_first=True)
        if self.split_long and packed.mask.shape[-1] >= MIN_SPLIT_TOKENS:
            ordered = packed.order_features(features)
            hidden = torch.stack([self._history_first(packed, row, ordered[row]) for row in range(len(features))])
        else:
            rows = torch.arange(len(features), device=features.device)[:, None]
            hidden = self.prefdisc(packed, features).hidden[rows, packed.prediction_positions[:, 0]]
        if self.logits == "labels":
            return self.prefdisc.label_logits(hidden).float()
        # The logits are float32, because half precision is too coarse for a cross-entropy over the vocabulary.
        return self.prefdisc.base.lm_head(hidden).float()

    def _history_first(self, packed: PackedBatch, row: int, features: Tensor) -> Tensor:
        """Return one sequence's last-layer states (2, D) at the label positions of its targets.

        Processes the history, and then both targets as a batch.
        """
        base, tokens = self.prefdisc.base, self.prefdisc.tokens
        liked, disliked = packed.prediction_positions[row, 0].tolist()
        length = disliked - liked
        ids = packed.ids[row, : disliked + 1 - len(tokens)]
        embedded = base.get_input_embeddings()(ids)
        is_image = (ids == self.prefdisc.template.image_id)[:, None]
        embedded = embedded.masked_scatter(is_image, features.to(embedded.dtype))
        history, targets = torch.cat([tokens, embedded]).split([disliked + 1 - 2 * length, 2 * length])
        targets = targets.view(2, length, -1)
        if not len(history):
            return base.model.text_model(inputs_embeds=targets, use_cache=False).last_hidden_state[:, -1]
        cache = base.model.text_model(inputs_embeds=history[None], use_cache=True).past_key_values
        # Unlike the prefix used for scoring, this prefix has gradients.
        prefix = HistoryPrefix(tuple((layer.keys, layer.values) for layer in cache.layers), history[:0], len(history))
        copies = prefix.to_dynamic_cache(2)
        output = base.model.text_model(inputs_embeds=targets, past_key_values=copies, use_cache=False)
        return output.last_hidden_state[:, -1]


def trainable_parameters(module: nn.Module) -> dict[str, Tensor]:
    """Return the names and the tensors of the parameters with `requires_grad`."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
