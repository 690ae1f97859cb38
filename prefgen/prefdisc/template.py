"""The chat template: writes each rated image as one chat turn of token ids.

A labelled turn is, for example, `User:<image>The prompt is 'a cat' Score for this image?...Assistant: +`. The turn of
an image to be scored is unlabelled: it ends just before its label, wherever the tokenizer puts the space.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from ..errors import CheckpointError
from ..validation import require_text
from .config import PrefDiscSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer


Item = TypeVar("Item")


class ChatTemplate:
    """The chat template of one spec and tokenizer.

    Attributes:
        image_id: Token id that image features replace.
        label_ids: Token ids of the like label and the dislike label.
        opening_ids: Token ids before the first turn.
        images_per_turn: Number of image tokens in a turn.

    Raises:
        CheckpointError: The tokenizer does not fit the spec.
    """

    def __init__(self, spec: PrefDiscSpec, tokenizer: Tokenizer) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.image_id = tokenizer.token_to_id("<image>")
        if self.image_id is None:
            raise CheckpointError("The tokenizer has no '<image>' token. Use one of Idefics2.")
        # The token for unknown words is not part of the template, so prompts may contain it.
        unknown = getattr(tokenizer.model, "unk_token", None)
        added = tokenizer.get_added_tokens_decoder().items()
        self._special_ids = {i for i, token in added if token.special and token.content != unknown}
        like, dislike = (self._tokenize(self._text("", label)) for label in spec.labels)
        differing = [i for i, (a, b) in enumerate(zip(like, dislike, strict=False)) if a != b]
        if len(like) != len(dislike) or len(differing) != 1:
            raise CheckpointError(f"The labels {spec.labels} are not one token each. Use the checkpoint's tokenizer.")
        # Counted from the end, so that it holds for every prompt. Includes the label.
        self._tail = len(like) - differing[0]
        self.label_ids = (like[differing[0]], dislike[differing[0]])
        self.opening_ids = tuple(self._tokenize(spec.opening)) if spec.opening else ()
        self.images_per_turn = like.count(self.image_id)
        # Prompts often repeat within a history and during training.
        self.labelled_turn = lru_cache(maxsize=4096)(self._labelled_turn)

    def _labelled_turn(self, prompt: str, liked: bool) -> tuple[int, ...]:
        """Return the token ids of an image's turn with its label."""
        return tuple(self._tokenize(self._text(prompt, self.spec.labels[0 if liked else 1])))

    def unlabelled_turn(self, prompt: str) -> tuple[int, ...]:
        """Return the token ids of an image's turn, up to where the label is to be predicted."""
        return self.labelled_turn(prompt, True)[: -self._tail]

    def order_pair(self, liked: Item, disliked: Item) -> tuple[Item, Item]:
        """Return the two items of a pair in the order in which a history reads them."""
        return (disliked, liked) if self.spec.disliked_first else (liked, disliked)

    @property
    def label_offset(self) -> int:
        """Position of a turn's label, counted from the end of the turn (negative)."""
        return -self._tail

    def _text(self, prompt: str, label: str) -> str:
        before, between = self.spec.turn.split("<image>", 1)
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
