"""The PrefDisc models of the benchmarks: the pocket model, and a narrow Idefics2 with the real token counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from torch import Tensor

from prefgen.checkpoint.preference_model import POCKET, load_preference_model
from prefgen.history import UserHistory
from prefgen.prefdisc.base.base_model import build_base
from prefgen.prefdisc.config import PrefDiscSpec
from prefgen.prefdisc.model import PrefDisc

LATENTS = 64
PROMPT = "a watercolour painting of a lighthouse on a cliff above a stormy sea at dawn, soft light, muted colours"
SPECIAL = ["[UNK]", "<image>", "<end_of_utterance>", "<fake_token_around_image>", "User:", "Assistant:"]
WORDS = "The prompt is ' Score for this image ? + - , " + PROMPT.replace(",", "")
# Idefics2-8B has width 4,096 and 32 layers, and a vision tower of width 1,152 with 27 layers. This model is an eighth
# as wide, with the same proportions: MLP 3.5 times the width, four query heads for each key head, and image encoding
# two fifths of a candidate's FLOPs (half its time). Patches are therefore 28 px instead of 14; otherwise the connector
# would dominate, because the decoder has fewer layers. The vocabulary matrix has a larger share (8B decoder: 2 %).
WIDTH, LAYERS = 512, 4
NARROW = {
    "image_token_id": 1,
    "vision_config": {
        "hidden_size": 96,
        "intermediate_size": 360,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "image_size": 448,
        "patch_size": 28,
    },
    "perceiver_config": {
        "hidden_size": WIDTH,
        "resampler_n_latents": LATENTS,
        "resampler_depth": 1,
        "resampler_n_heads": 4,
        "resampler_head_dim": 12,
        "num_key_value_heads": 1,
    },
    "text_config": {
        "model_type": "mistral",
        "hidden_size": WIDTH,
        "intermediate_size": 1792,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 32_003,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 2,
    },
}


@dataclass(frozen=True)
class Geometry:
    """A PrefDisc and the size of its images.

    Attributes:
        name: Name in tables.
        prefdisc: The model.
        size: Image size in pixels.
    """

    name: str
    prefdisc: PrefDisc
    size: int

    def history(self, pairs: int) -> UserHistory:
        """Create a history of random images."""
        return UserHistory.from_images(self.images(pairs, seed=0), self.images(pairs, seed=1), [PROMPT])

    def images(self, count: int, seed: int) -> Tensor:
        """Create smooth colour patches, (count, 3, size, size), because pure noise would always give the same score."""
        coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        return F.interpolate(coarse, size=(self.size, self.size), mode="bilinear", align_corners=False)


def pocket() -> Geometry:
    """Load the bundled PrefDisc."""
    return Geometry("pocket", load_preference_model(POCKET).require("prefdisc"), 96)


SPEC = PrefDiscSpec(
    base="benchmarks/narrow",
    revision="1",
    turn="User: <image>The prompt is '{prompt}' Score for this image?<end_of_utterance> Assistant: {label}"
    "<end_of_utterance>",
    image="<fake_token_around_image>" + "<image>" * LATENTS + "<fake_token_around_image>",
    labels=("+", "-"),
    num_tokens=10,
    sem_layers=(3, 4),
    core_layers=(1, 2),
    longest_edge=448,
    shortest_edge=378,
)
"""Idefics2-8B's chat format, with words from the tokenizer below."""


def real_tokens(name: str = "idefics2-tokens", patch: int = 28) -> Geometry:
    """Build a narrow Idefics2 with random weights and the real token counts."""
    torch.manual_seed(0)
    base = build_base(NARROW | {"vision_config": NARROW["vision_config"] | {"patch_size": patch}})
    model = PrefDisc(base, word_tokenizer(), SPEC).requires_grad_(False).eval()
    # With the usual scale of 0.02, logits would be too small for a meaningful comparison.
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.mul_(2)
    return Geometry(name, model, 512)


def real_patches() -> Geometry:
    """Build the same model with the real 14 px patches, 1,024 for each image.

    Image encoding then takes most of a candidate's time and cannot be shared, so all speedups are smaller than those of
    the 8B model.
    """
    return real_tokens("idefics2-patches", 14)


GEOMETRIES = {"pocket": pocket, "idefics2-tokens": real_tokens, "idefics2-patches": real_patches}


def word_tokenizer() -> Tokenizer:
    """Build a word tokenizer that needs about as many tokens for the chat format as Idefics2's tokenizer."""
    words = list(dict.fromkeys([*SPECIAL, *WORDS.split()]))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in SPECIAL])
    return tokenizer
