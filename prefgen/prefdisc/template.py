"""Turns: the chat text around each rated image, as token ids.

One rated image is one turn, for example `User:<image>The prompt is 'a cat' Score for this image?...Assistant: +`.
The target's turn is left open: it ends just before its label, wherever the tokenizer put the space.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from ..errors import CheckpointError
from ..validation import require_text
from .config import PrefDiscSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer


Image = TypeVar("Image")


class Turns:
    """Writes turns for one spec and tokenizer. Raises CheckpointError where the two do not fit each other."""

    def __init__(self, spec: PrefDiscSpec, tokenizer: Tokenizer) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.image_id = self._id("<image>")
        # But for what stands for unknown words: it is no part of a turn.
        unknown = getattr(tokenizer.model, "unk_token", None)
        added = tokenizer.get_added_tokens_decoder().items()
        self._special = {i for i, token in added if token.special and token.content != unknown}
        like, dislike = (self._tokenise(self._text("", label)) for label in spec.labels)
        differing = [i for i, (a, b) in enumerate(zip(like, dislike, strict=False)) if a != b]
        if len(like) != len(dislike) or len(differing) != 1:
            raise CheckpointError(
                f"The labels {spec.labels} are not one token each in the turn {spec.turn!r}: "
                "the tokenizer and the checkpoint do not belong together."
            )
        # Counted from the end, so that it holds for every prompt. Includes the label itself.
        self._tail = len(like) - differing[0]
        self.label_ids = (like[differing[0]], dislike[differing[0]])
        self.opening = tuple(self._tokenise(spec.opening)) if spec.opening else ()
        self.images_per_turn = like.count(self.image_id)
        # Prompts repeat a great deal within a history and over a training run.
        self.rated = lru_cache(maxsize=4096)(self._rated)

    def _rated(self, prompt: str, liked: bool) -> tuple[int, ...]:
        """Token ids of a whole turn: an image with its label."""
        return tuple(self._tokenise(self._text(prompt, self.spec.labels[0 if liked else 1])))

    def open(self, prompt: str) -> tuple[int, ...]:
        """Token ids of the target's turn, up to where the label is to be predicted."""
        return self.rated(prompt, True)[: -self._tail]

    def in_order(self, liked: Image, disliked: Image) -> tuple[Image, Image]:
        """What belongs to the two images of a pair, in the order in which a history reads them."""
        return (disliked, liked) if self.spec.disliked_first else (liked, disliked)

    @property
    def label_offset(self) -> int:
        """Where a whole turn's label is, counted from the turn's end (negative)."""
        return -self._tail

    def _text(self, prompt: str, label: str) -> str:
        before, between = self.spec.turn.split("<image>", 1)
        # The prompt goes in last, so that braces and tokens inside it are never read as the template's own.
        question, place, answer = between.partition("{prompt}")
        if not place:
            return before + self.spec.image + between.replace("{label}", label)
        return before + self.spec.image + question + self._prompt(prompt) + answer.replace("{label}", label)

    def _prompt(self, prompt: str) -> str:
        """The prompt without special tokens (they must not become turns), cut to `max_prompt_tokens` tokens. Raises
        PrefGenError for half a character, which no tokenizer reads."""
        require_text(prompt, "The prompt")
        encoded = self.tokenizer.encode(prompt, add_special_tokens=False)
        # By what the tokenizer reads, not by how tokens are spelled: some match in any case, or with spaces around. And
        # again, since what is left may read as another.
        while spans := [span for i, span in zip(encoded.ids, encoded.offsets, strict=True) if i in self._special]:
            for start, end in reversed(spans):
                prompt = f"{prompt[:start]} {prompt[end:]}"
            encoded = self.tokenizer.encode(prompt, add_special_tokens=False)
        limit = self.spec.max_prompt_tokens
        return prompt if len(encoded.ids) <= limit else prompt[: encoded.offsets[limit - 1][1]]

    def _tokenise(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _id(self, token: str) -> int:
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(
                f"The tokenizer has no {token!r} token, which PrefDisc needs: use the tokenizer of an Idefics2 model."
            )
        return found
