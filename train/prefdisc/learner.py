"""What learns: PrefDisc as transformers' Trainer runs it, from a batch to both targets' logits in one forward."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.packing import Packed
from prefgen.prefdisc.prefix import HistoryPrefix

LONG = 512
"""Tokens from which a sequence is worth a forward of its own (default ours: where attention begins to cost)."""


class Learner(nn.Module):
    """PrefDisc on packed batches, the history's tokens once for both targets.

    over: "vocabulary" gives the whole vocabulary's logits, "labels" those of + and -. apart: long sequences go one by
    one, first the history and then both targets against its keys and values, which gives the same logits and gradients
    as a packed sequence and spares the half of its attention that the mask hides. Not with recomputed activations,
    which keep no keys.
    """

    def __init__(self, prefdisc: PrefDisc, over: str = "vocabulary", apart: bool = True) -> None:
        super().__init__()
        self.prefdisc = prefdisc
        self.over = over
        self.apart = apart

    @property
    def labels(self) -> tuple[int, int]:
        """The columns of + and - in what `forward` gives."""
        return self.prefdisc.turns.label_ids if self.over == "vocabulary" else (0, 1)

    def forward(
        self,
        packed: Packed,
        counts: tuple[int, ...],
        images: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, 2, V) at the last position of each sequence's liked and disliked target.

        The history is read once for both. counts: how many images each sequence has. images (N, 3, H, W) or features
        (N, latents, D): of all sequences, one after the other, each in its own order.
        """
        packed = packed.to(self.prefdisc.device)
        if features is None:
            features = self.prefdisc.features(images)
        # Only where histories are of unequal lengths is anything padded.
        features = pad_sequence(features.split(counts), batch_first=True)
        if self.apart and packed.mask.shape[-1] >= LONG:
            hidden = torch.stack([self._history_first(packed, row, features[row]) for row in range(len(features))])
        else:
            rows = torch.arange(len(features), device=features.device)[:, None]
            hidden = self.prefdisc(packed, features).hidden[rows, packed.reads[:, 0]]
        if self.over == "labels":
            return self.prefdisc.label_logits(hidden).float()
        # In float32: a vocabulary's cross-entropy is the one sum here that half precision spoils.
        return self.prefdisc.base.lm_head(hidden).float()

    def _history_first(self, packed: Packed, row: int, features: Tensor) -> Tensor:
        """One sequence's last-layer states (2, D) where the targets' labels are read: history, then both at once."""
        base, tokens = self.prefdisc.base, self.prefdisc.tokens
        liked, disliked = packed.reads[row, 0].tolist()
        target = disliked - liked
        ids = packed.ids[row, : disliked + 1 - len(tokens)]
        embedded = base.get_input_embeddings()(ids)
        here = (ids == self.prefdisc.turns.image_id)[:, None]
        embedded = embedded.masked_scatter(here, features.to(embedded.dtype))
        history, targets = torch.cat([tokens, embedded]).split([disliked + 1 - 2 * target, 2 * target])
        targets = targets.view(2, target, -1)
        if not len(history):
            return base.model.text_model(inputs_embeds=targets, use_cache=False).last_hidden_state[:, -1]
        read = base.model.text_model(inputs_embeds=history[None], use_cache=True).past_key_values
        # Unlike what scoring keeps, this prefix carries gradients.
        prefix = HistoryPrefix(tuple((layer.keys, layer.values) for layer in read.layers), history[:0], len(history))
        both = base.model.text_model(inputs_embeds=targets, past_key_values=prefix.cache(2), use_cache=False)
        return both.last_hidden_state[:, -1]


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
