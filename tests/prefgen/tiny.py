"""Tiny random models of the real architectures, for tests that are about code and not about quality."""

from __future__ import annotations

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from prefgen.history import UserHistory
from prefgen.prefdisc.base.base_model import build_base
from prefgen.prefdisc.config import PrefDiscSpec
from prefgen.prefdisc.model import PrefDisc

WIDTH = 32

CONFIG = {
    "image_token_id": 1,
    "vision_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 24,
        "patch_size": 6,
    },
    "perceiver_config": {
        "hidden_size": WIDTH,
        "resampler_n_latents": 2,
        "resampler_depth": 1,
        "resampler_n_heads": 2,
        "resampler_head_dim": 8,
        "num_key_value_heads": 1,
    },
    "text_config": {
        "model_type": "mistral",
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 16,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 2,
    },
}

_WIDE = {"hidden_size": 64, "intermediate_size": 64}
BROAD = CONFIG | {
    "vision_config": CONFIG["vision_config"] | _WIDE,
    "perceiver_config": CONFIG["perceiver_config"]
    | {"hidden_size": 64, "resampler_head_dim": 32, "num_key_value_heads": 2},
    "text_config": CONFIG["text_config"] | _WIDE | {"num_key_value_heads": 4},
}
"""All widths multiples of 64, as the real one's are: on processors with AVX512-BF16 bitsandbytes packs weights in
blocks and refuses others."""

SPEC = PrefDiscSpec(
    base="tests/tiny",
    revision="1",
    turn="User:<image>{prompt} Assistant: {label}<end_of_utterance>",
    image="<image><image>",
    labels=("+", "-"),
    num_tokens=3,
    sem_layers=(3, 4),
    core_layers=(1, 2),
    longest_edge=24,
    shortest_edge=6,
    max_prompt_tokens=5,
)


def tokenizer() -> Tokenizer:
    """A word tokenizer of fifteen words."""
    special = ["[UNK]", "<image>", "<end_of_utterance>", "User:", "Assistant:"]
    words = [*special, "+", "-", "a", "cat", "dog", "red", "house", "the", "on", "'"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in special])
    return made


def prefdisc(seed: int = 0, config: dict = CONFIG) -> PrefDisc:
    """A PrefDisc of 40 thousand parameters with random weights large enough that everything matters."""
    torch.manual_seed(seed)
    model = PrefDisc(build_base(config), tokenizer(), SPEC)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    return model.eval()


def history(pairs: int = 3, size: int = 24, seed: int = 0, prompts: list[str] | None = None) -> UserHistory:
    """A history of noise images."""
    generator = torch.Generator().manual_seed(seed)
    liked, disliked = torch.rand(2, pairs, 3, size, size, generator=generator)
    return UserHistory.from_images(liked, disliked, prompts or ["a cat", "the red house on a dog", ""][:pairs], "tiny")
