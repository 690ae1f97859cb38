"""The chat template: writes each rated image as one chat turn of token ids.

A labelled turn is, for example, `User:<image>The prompt is 'a cat' Score for this image?...Assistant: +`. The turn of
an image to be scored is unlabelled: it ends just before its label, before or after the space (`PrefDiscSpec`).

Published models tokenise all turns as one text, where a turn's first token depends on the turn before it: with
Idefics2's tokenizer `▁User` at the start of the text and `User` after a line break. So every turn has two forms, the
first and a later one. Turns can be cached one by one, because the template checks that together they are the whole
text's tokens.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from ..errors import CheckpointError
from ..validation import require, require_text
from .config import PrefDiscSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer


Item = TypeVar("Item")

_MARKS = re.compile(r"<[^<>\s]+>")
"""Special tokens of a template. One that the tokenizer lacks would be read as several words."""


class ChatTemplate:
    """The chat template of one spec and tokenizer.

    Attributes:
        image_id: Token id that image features replace.
        label_ids: Token ids of the like label and the dislike label.
        opening_ids: Token ids before the first turn.
        images_per_turn: Number of image tokens in a turn.

    Raises:
        CheckpointError: The tokenizer does not match the spec.
    """

    def __init__(self, spec: PrefDiscSpec, tokenizer: Tokenizer) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        needed = ("<image>", *_MARKS.findall(spec.opening + spec.image + spec.turn))
        missing = next((token for token in needed if tokenizer.token_to_id(token) is None), None)
        require(missing is None, CheckpointError, f"The tokenizer has no {missing!r} token. Use one of Idefics2.")
        self.image_id = tokenizer.token_to_id("<image>")
        # The token for unknown words is not part of the template, so prompts may contain it.
        unknown = getattr(tokenizer.model, "unk_token", None)
        added = tokenizer.get_added_tokens_decoder().items()
        self._special_ids = {i for i, token in added if token.special and token.content != unknown}
        like, dislike = (self._tokenize(self._text("", label)) for label in spec.labels)
        differing = [i for i, (a, b) in enumerate(zip(like, dislike, strict=False)) if a != b]
        self.label_ids = tuple(ids[i] for i in differing for ids in (like, dislike))
        known = unknown is None or tokenizer.token_to_id(unknown) not in self.label_ids
        if len(like) != len(dislike) or len(differing) != 1 or not known:
            raise CheckpointError(f"The labels {spec.labels} are not one token each. Use the checkpoint's tokenizer.")
        # Counted from the end, so that it holds for every prompt. Includes the label.
        self._tail = len(like) - differing[0]
        self.opening_ids = tuple(self._tokenize(spec.opening)) if spec.opening else ()
        self.images_per_turn = like.count(self.image_id)
        # Prompts often repeat within a history and during training.
        self.labelled_turn = lru_cache(maxsize=4096)(self._labelled_turn)
        self.unlabelled_turn = lru_cache(maxsize=4096)(self._unlabelled_turn)
        advice = "End the turn with a special token or a line break."
        require(self._turns_are_separate(), CheckpointError, f"The tokenizer merges the ends of turns. {advice}")

    def _labelled_turn(self, prompt: str, liked: bool, first: bool = False) -> tuple[int, ...]:
        """Return the token ids of an image's turn with its label.

        Args:
            prompt: The image's prompt.
            liked: Which label.
            first: Whether no turn comes before this one. It matters for specs with `whole_text`.
        """
        return tuple(self._tokenize_after(self._text(prompt, self.spec.labels[0 if liked else 1]), first))

    def _unlabelled_turn(self, prompt: str, first: bool = False) -> tuple[int, ...]:
        """Return the token ids of an image's turn, up to where the label is to be predicted."""
        if not self.spec.open_space:
            return self.labelled_turn(prompt, True, first)[: -self._tail]
        before_label = self.spec.turn.rpartition("{label}")[0]
        return tuple(self._tokenize_after(self._text(prompt, "", before_label), first))

    def order_pair(self, liked: Item, disliked: Item) -> tuple[Item, Item]:
        """Return the two items of a pair in the order in which a history reads them."""
        return (disliked, liked) if self.spec.disliked_first else (liked, disliked)

    @property
    def label_offset(self) -> int:
        """Position of a turn's label, counted from the end of the turn (negative)."""
        return -self._tail

    def _turns_are_separate(self) -> bool:
        """Return whether turns together are the tokens of their whole text, so that a history can be cached."""
        orders = ((0, 1, 0), (1, 0, 1)) if self.spec.whole_text else ()
        texts = ["".join(self._text("a cat", self.spec.labels[label]) for label in labels) for labels in orders]
        turns = [
            [token for i, label in enumerate(labels) for token in self.labelled_turn("a cat", not label, i == 0)]
            for labels in orders
        ]
        return [self._tokenize(text) for text in texts] == turns

    def _text(self, prompt: str, label: str, turn: str = "") -> str:
        before, between = (turn or self.spec.turn).split("<image>", 1)
        # The prompt is inserted last, so that braces and tokens in it are not taken for the template's own.
        question, placeholder, answer = between.partition("{prompt}")
        if not placeholder:
            return before + self.spec.image + between.replace("{label}", label)
        return before + self.spec.image + question + self._clean_prompt(prompt) + answer.replace("{label}", label)

    def _clean_prompt(self, prompt: str) -> str:
        """Remove special tokens from a prompt and cut it to `max_prompt_tokens` tokens.

        Raises:
            PrefGenError: The prompt has an unpaired surrogate.
        """
        require_text(prompt, "The prompt")
        encoded = self.tokenizer.encode(prompt, add_special_tokens=False)
        # Find special tokens in the tokenizer's output, not by their spelling: some match in any case, or with spaces
        # around them. Repeat, because the remaining text may form another one.
        while spans := [s for i, s in zip(encoded.ids, encoded.offsets, strict=True) if i in self._special_ids]:
            for start, end in reversed(spans):
                prompt = f"{prompt[:start]} {prompt[end:]}"
            encoded = self.tokenizer.encode(prompt, add_special_tokens=False)
        limit = self.spec.max_prompt_tokens
        return prompt if len(encoded.ids) <= limit else prompt[: encoded.offsets[limit - 1][1]]

    def _tokenize(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _tokenize_after(self, text: str, first: bool) -> list[int]:
        """Tokenise a turn as it is after another turn, or as the first one."""
        if first or not self.spec.whole_text:
            return self._tokenize(text)
        previous = self._text("", self.spec.labels[0])
        encoded = self.tokenizer.encode(previous + text, add_special_tokens=False)
        return [token for token, (start, _) in zip(encoded.ids, encoded.offsets, strict=True) if start >= len(previous)]
