"""The two sizes of PrefDisc that benchmarks measure: the pocket one as it ships, and a narrow Idefics2 whose token
counts are the real one's: 64 tokens an image, Idefics2's own chat turns, 512 px images read at 448."""

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
# Idefics2-8B is 4,096 wide in 32 layers behind a tower of 1,152 in 27. This is an eighth as wide, with its proportions
# kept: MLP 3.5 times the width, four query heads a key; seeing a candidate is two fifths of its work (half its time).
# For that its patches are 28 px and not 14: the connector's share would else grow with the decoder's missing layers.
# What is not kept is the vocabulary's share: its matrix is 2 % of the 8B decoder's work and far more of a narrow one's.
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
    """name: as the rows say it. size: of the images (pixels)."""

    name: str
    prefdisc: PrefDisc
    size: int

    def history(self, pairs: int) -> UserHistory:
        """A history of random images."""
        return UserHistory.from_images(self.images(pairs, seed=0), self.images(pairs, seed=1), [PROMPT])

    def images(self, count: int, seed: int) -> Tensor:
        """Large soft patches of colour, (count, 3, size, size): images of mere noise would all score the same."""
        coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        return F.interpolate(coarse, size=(self.size, self.size), mode="bilinear", align_corners=False)


def pocket() -> Geometry:
    """The bundled PrefDisc."""
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
"""How Idefics2-8B reads, in words of our own tokenizer."""


def real_tokens(name: str = "idefics2-tokens", patch: int = 28) -> Geometry:
    """A narrow Idefics2 of random weights with the real token counts."""
    torch.manual_seed(0)
    base = build_base(NARROW | {"vision_config": NARROW["vision_config"] | {"patch_size": patch}})
    model = PrefDisc(base, word_tokenizer(), SPEC).requires_grad_(False).eval()
    # Weights of the usual 0.02 would give logits of hardly any size; a difference would then say nothing.
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.mul_(2)
    return Geometry(name, model, 512)


def real_patches() -> Geometry:
    """The same with the real tower's 14 px patches too, 1,024 an image: seeing then takes most of a candidate's time,
    which nothing can share, so every ratio is smaller than it would be for the whole 8B."""
    return real_tokens("idefics2-patches", 14)


GEOMETRIES = {"pocket": pocket, "idefics2-tokens": real_tokens, "idefics2-patches": real_patches}


def word_tokenizer() -> Tokenizer:
    """A word tokenizer of the prompt's and the turn's words: about as many tokens as Idefics2's own gives."""
    words = list(dict.fromkeys([*SPECIAL, *WORDS.split()]))
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in SPECIAL])
    return made
