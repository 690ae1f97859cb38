"""Measures how much a target's image attends to the preference tokens, the papers' picture of which users are similar.

Source: arXiv 2508.08220, figure 4.
"""

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
def record_attention(
    prefdisc: PrefDisc, select: Callable[[Tensor], Tensor] = lambda weights: weights
) -> Iterator[list[Tensor]]:
    """Record the attention weights (B, heads, S, S) of every layer in every forward pass inside the context.

    Switches to transformers' eager attention, the only one that returns weights, and back afterwards.

    Args:
        prefdisc: The model to observe.
        select: Selects what to keep of a layer's weights. All weights of an 8B base with 8 pairs are a gigabyte.

    Yields:
        A list that receives the selected weights in layer order.
    """
    text = prefdisc.base.model.text_model
    implementation, recorded = text.config._attn_implementation, []

    def record(_module, _inputs, outputs: tuple) -> None:
        recorded.append(select(outputs[1]))

    text.set_attn_implementation("eager")
    hooks = [layer.self_attn.register_forward_hook(record) for layer in text.layers]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()
        text.set_attn_implementation(implementation)


def attention_to_preference_tokens(
    prefdisc: PrefDisc, prefix: HistoryPrefix, image: Tensor, prompt: str = ""
) -> Tensor:
    """Return the attention of a target's image tokens to the preference tokens.

    Args:
        prefdisc: The preference model.
        prefix: The encoded history, from `PrefDisc.encode`.
        image: The target, (3, H, W) in [0, 1].
        prompt: The target's prompt.

    Returns:
        (layers, heads, image tokens, L_p), float32 on the CPU. Each value is a share of the token's whole attention.

    Raises:
        ImageError: The image is unusable.
    """
    template = prefdisc.template
    turn = template.unlabelled_turn(prompt, not prefix.digest)
    is_image_token = torch.tensor([token == template.image_id for token in turn])

    def select(weights: Tensor) -> Tensor:
        return weights[0, :, is_image_token.to(weights.device), : prefdisc.spec.num_tokens].float().cpu()

    with record_attention(prefdisc, select) as recorded, torch.inference_mode(False), torch.no_grad():
        prefdisc.logits(prefix, image[None], prompt)
    return torch.stack(recorded)
