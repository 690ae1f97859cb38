"""How much a target's image attends to the preference tokens: the papers' picture of which users are alike (001
figure 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .model import PrefDisc
    from .prefix import HistoryPrefix


@contextmanager
def attention_kept(
    prefdisc: PrefDisc, keep: Callable[[Tensor], Tensor] = lambda weights: weights
) -> Iterator[list[Tensor]]:
    """While open, every forward leaves its layers' attention weights (B, heads, S, S) in the list, in order.

    Only the plain implementation has weights to give; the one before is put back. keep: what of a layer's weights is
    kept. With 32 layers of an 8B base and 8 pairs all of them are a gigabyte.
    """
    text = prefdisc.base.model.text_model
    before, kept = text.config._attn_implementation, []

    def take(_module, _given, out: tuple) -> None:
        kept.append(keep(out[1]))

    text.set_attn_implementation("eager")
    hooks = [layer.self_attn.register_forward_hook(take) for layer in text.layers]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
        text.set_attn_implementation(before)


def attention_on_tokens(prefdisc: PrefDisc, prefix: HistoryPrefix, image: Tensor, prompt: str = "") -> Tensor:
    """Attention of a target's image tokens on the preference tokens, after a history: (layers, heads, image tokens,
    L_p), float32 on the CPU. Weights are shares of what a token attends to altogether.

    prefix: from `PrefDisc.encode`. image: (3, H, W) in [0, 1]. Raises ImageError for an image that cannot be used.
    """
    shown = torch.tensor([token == prefdisc.turns.image_id for token in prefdisc.turns.open(prompt)])

    def keep(weights: Tensor) -> Tensor:
        return weights[0, :, shown.to(weights.device), : prefdisc.spec.num_tokens].float().cpu()

    with attention_kept(prefdisc, keep) as kept, torch.inference_mode(False), torch.no_grad():
        prefdisc.logits(prefix, image[None], prompt)
    return torch.stack(kept)
