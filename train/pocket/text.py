"""Small versions of SDXL's two text encoders, with a compact vocabulary and ComfyUI's tokenisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import open_clip
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from prefgen.pocket.shapes import CLIP_G, CLIP_L, FOLDER, TextShape
from train.data.posters import ATTRIBUTES

START, END = 49406, 49407
PADDING = {"clip_l": END, "clip_g": 0}  # the padding tokens of ComfyUI's SDXL tokenizer
FILE = FOLDER / "text_encoders.safetensors"
# Function words that people use around a subject. All other words share the "unknown" row.
_SMALL_WORDS = "a an the of in on at with and by poster picture image"


@cache
def tokenizer() -> open_clip.SimpleTokenizer:
    """Return CLIP's byte-pair tokenizer, which ComfyUI's text encoders use too."""
    return open_clip.SimpleTokenizer()


@cache
def vocabulary() -> tuple[int, ...]:
    """Return the sorted CLIP token ids that have their own embedding row."""
    phrases = [phrase for values in ATTRIBUTES.values() for phrase in values.values()]
    tokens = {t for text in [*phrases, _SMALL_WORDS, ",", "."] for t in tokenizer().encode(text)}
    return tuple(sorted(tokens | {0, START, END}))


def tokenize(captions: list[str], length: int = 77) -> Tensor:
    """Tokenise captions to rows of the compact vocabulary, (B, length) int64, padded with the row of token 0.

    Words without their own row get the last row, "unknown".
    """
    rows = {token: row for row, token in enumerate(vocabulary())}
    ids = tokenizer()(captions, context_length=length)
    return ids.apply_(lambda token: rows.get(token, len(rows)))


def build(shape: TextShape) -> CLIPTextModelWithProjection:
    """Build an untrained text encoder with the compact vocabulary and the unknown row."""
    config = CLIPTextConfig(
        **shape.clip_config(),
        vocab_size=len(vocabulary()) + 1,
        bos_token_id=vocabulary().index(START),
        eos_token_id=vocabulary().index(END),
        pad_token_id=vocabulary().index(0),
    )
    return CLIPTextModelWithProjection(config)


@dataclass(frozen=True)
class TextEncoders:
    """Both text encoders, with the same output as ComfyUI's SDXL text conditioning."""

    clip_l: nn.Module
    clip_g: nn.Module

    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Return the concatenated penultimate states (B, 77, 192) and the pooled CLIP-G output (B, 128)."""
        ids = tokenize(captions).to(next(self.clip_g.parameters()).device)
        end = vocabulary().index(END)
        after_end = (ids == end).long().cumsum(-1).bool()
        low = self.clip_l(ids.masked_fill(after_end, end), output_hidden_states=True)
        high = self.clip_g(ids, output_hidden_states=True)
        return torch.cat([low.hidden_states[-2], high.hidden_states[-2]], -1), high.text_embeds


class CachedTextEncoders:
    """Text encoders with a cache, for training with repeated captions.

    The cache is in bfloat16 and takes 30 kB per caption. The adapter's 20,000 captions take 0.6 GB.
    """

    def __init__(self, encode: TextEncoders) -> None:
        self._encode, self._known = encode, {}

    @torch.no_grad()
    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Return the same as `TextEncoders`."""
        if new := [caption for caption in dict.fromkeys(captions) if caption not in self._known]:
            encoded = (part.bfloat16() for part in self._encode(new))
            self._known.update(zip(new, zip(*encoded, strict=True), strict=True))
        context, pooled = zip(*(self._known[caption] for caption in captions), strict=True)
        return torch.stack(context).float(), torch.stack(pooled).float()


def unused_modules(clip_l: nn.Module) -> tuple[nn.Module, ...]:
    """Return the unused modules of CLIP-L. SDXL uses only the penultimate states of CLIP-L."""
    return clip_l.text_model.encoder.layers[-1], clip_l.text_model.final_layer_norm, clip_l.text_projection


def to_file(clip_l: nn.Module, clip_g: nn.Module) -> dict[str, Tensor]:
    """Return the file's tensors in half precision: ComfyUI's key names, and only the vocabulary's embedding rows."""
    state = {"token_ids": torch.tensor(vocabulary())}
    for name, model in (("clip_l", clip_l), ("clip_g", clip_g)):
        for key, value in model.state_dict().items():
            value = value.half().contiguous()
            if "token_embedding" in key:
                state[f"{name}.token_rows"], state[f"{name}.unknown_row"] = value[:-1].clone(), value[-1].clone()
            elif "position_ids" not in key:
                state[f"{name}.transformer.{key}"] = value
    return state


def load() -> TextEncoders:
    """Load the shipped text encoders, frozen."""
    state, encoders = load_file(FILE), {}
    for name, shape in (("clip_l", CLIP_L), ("clip_g", CLIP_G)):
        model, prefix = build(shape), f"{name}.transformer."
        weights = {k.removeprefix(prefix): v.float() for k, v in state.items() if k.startswith(prefix)}
        rows = torch.cat([state[f"{name}.token_rows"], state[f"{name}.unknown_row"][None]]).float()
        weights["text_model.embeddings.token_embedding.weight"] = rows
        model.load_state_dict(weights)
        encoders[name] = model.requires_grad_(False).eval()
    return TextEncoders(**encoders)
