"""Idefics2's tokenizer: the Mistral v1 vocabulary (from the package mistral-common) with Idefics2's image tokens."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

ADDED = ("<fake_token_around_image>", "<image>", "<end_of_utterance>")
NORMALIZERS = ("legacy", "new")
"""The two ways in which transformers has written Llama's tokenizers. In `legacy`, every text between two special tokens
starts with a space; in `new`, only the first text."""


@cache
def _pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary, and the merges in the order of the merged pieces."""
    model = SentencePieceProcessor(model_file=str(files("mistral_common") / "data" / "tokenizer.model.v1"))
    vocabulary = {model.id_to_piece(i): i for i in range(model.get_piece_size())}
    merges = []
    for piece in vocabulary:
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        known = [pair for pair in splits if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    return vocabulary, merges


def tokenizer(normalizer: str = "legacy") -> Tokenizer:
    """Build the tokenizer with 32,003 tokens."""
    vocabulary, merges = _pieces()
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer == "legacy":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ("<unk>", "<s>", "</s>", *ADDED)
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return made
