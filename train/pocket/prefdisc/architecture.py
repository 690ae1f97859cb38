"""Defines the pocket PrefDisc: an Idefics2 with 1.4 million parameters, its tokenizer and its template."""

from __future__ import annotations

import re
from dataclasses import replace

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from prefgen.prefdisc.base.base_model import build_base
from prefgen.prefdisc.config import PrefDiscSpec
from prefgen.prefdisc.model import PrefDisc
from train.data.posters import ATTRIBUTES, SIZE

BASE = "prefgen/pocket"
LATENTS, WIDTH, LAYERS = 2, 128, 5
# About 1 / sqrt(width). The usual 0.02 suits widths of thousands; here it would make all initial signals almost zero.
WIDE_START = 0.08
SPECIAL = ("[UNK]", "<image>", "<end_of_utterance>", "User:", "Assistant:")
WORDS = ("a", "an", "the", "of", "in", "on", "with", "and", "at", "over", "poster", "picture", "image", ",", ".", "'")

SPEC = PrefDiscSpec(
    base=BASE,
    revision="1",
    # This template is shorter than Idefics2's. A turn with the prompt "a lighthouse" has six tokens, so eight pairs
    # have about a hundred tokens.
    turn="<image>{prompt} Assistant: {label}",
    image="<image>" * LATENTS,
    labels=("+", "-"),
    num_tokens=4,
    # Of 32 layers, the paper uses the top 4 for sem and layers 8 to 20 for core. Of our five layers, layer 4 represents
    # the taste, so it is used for sem, and the two layers before it for core. Layer 5 only compares a target with the
    # taste.
    sem_layers=(4,),
    core_layers=(2, 3),
    longest_edge=SIZE,
    shortest_edge=SIZE,
)


def make_tokenizer() -> Tokenizer:
    """Build a lower-case word tokenizer for the words of poster prompts. Other words become [UNK]."""
    phrases = " ".join(phrase for values in ATTRIBUTES.values() for phrase in values.values())
    words = list(dict.fromkeys([*SPECIAL, "+", "-", *WORDS, *re.findall(r"\w+|[^\w\s]+", phrases.lower())]))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=SPECIAL[0]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Special tokens are matched before lower-casing, so "Assistant:" stays one token.
    tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in SPECIAL])
    return tokenizer


def base_config(tokenizer: Tokenizer) -> dict:
    """Return the values for `Idefics2Config`: patches of 12 pixels, two perceiver latents, five decoder layers."""
    return {
        "image_token_id": tokenizer.token_to_id("<image>"),
        "vision_config": {
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "image_size": SIZE,
            "patch_size": 12,
            "initializer_range": WIDE_START,
        },
        "perceiver_config": {
            "hidden_size": WIDTH,
            "resampler_n_latents": LATENTS,
            "resampler_depth": 1,
            "resampler_n_heads": 4,
            "resampler_head_dim": 32,
            "num_key_value_heads": 2,
            "initializer_range": WIDE_START,
        },
        "text_config": {
            "model_type": "mistral",
            "hidden_size": WIDTH,
            "intermediate_size": 256,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": tokenizer.get_vocab_size(),
            "max_position_embeddings": 4096,
            "initializer_range": WIDE_START,
            "pad_token_id": 0,
            "bos_token_id": None,
            "eos_token_id": tokenizer.token_to_id("<end_of_utterance>"),
        },
    }


def new_prefdisc(num_tokens: int = SPEC.num_tokens) -> PrefDisc:
    """Build an untrained pocket PrefDisc."""
    tokenizer = make_tokenizer()
    return PrefDisc(build_base(base_config(tokenizer)), tokenizer, replace(SPEC, num_tokens=num_tokens))
