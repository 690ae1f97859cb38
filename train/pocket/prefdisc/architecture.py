"""The pocket PrefDisc's shapes: an Idefics2 of 1.4 million parameters, its tokenizer, its turns. Default ours."""

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
# About 1 / sqrt(width). The usual 0.02 suits widths of thousands; here it starts every signal near zero.
WIDE_START = 0.08
SPECIAL = ("[UNK]", "<image>", "<end_of_utterance>", "User:", "Assistant:")
WORDS = ("a", "an", "the", "of", "in", "on", "with", "and", "at", "over", "poster", "picture", "image", ",", ".", "'")

SPEC = PrefDiscSpec(
    base=BASE,
    revision="1",
    # Shorter than Idefics2's own: six tokens a turn for "a lighthouse", so that eight pairs are a hundred tokens.
    turn="<image>{prompt} Assistant: {label}",
    image="<image>" * LATENTS,
    labels=("+", "-"),
    num_tokens=4,
    # The paper takes the top 4 and layers 8-20 of 32. Of five layers: the one where the taste has come together (the
    # last only compares a target with it), and the two before.
    sem_layers=(4,),
    core_layers=(2, 3),
    longest_edge=SIZE,
    shortest_edge=SIZE,
)


def make_tokenizer() -> Tokenizer:
    """A word tokenizer of the words that posters are prompted with, in lower case; other words are [UNK]."""
    phrases = " ".join(phrase for values in ATTRIBUTES.values() for phrase in values.values())
    words = list(dict.fromkeys([*SPECIAL, "+", "-", *WORDS, *re.findall(r"\w+|[^\w\s]+", phrases.lower())]))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=SPECIAL[0]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Special tokens are matched before lower-casing, so "Assistant:" stays one token.
    tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in SPECIAL])
    return tokenizer


def base_config(tokenizer: Tokenizer) -> dict:
    """`Idefics2Config`'s JSON: 96 px in patches of 12, two perceiver latents, five decoder layers."""
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
    """An untrained pocket PrefDisc."""
    tokenizer = make_tokenizer()
    return PrefDisc(build_base(base_config(tokenizer)), tokenizer, replace(SPEC, num_tokens=num_tokens))
