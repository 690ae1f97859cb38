"""Values as people and other nodes give them: whether one is a number or text, and how a message shows it."""

from __future__ import annotations

from numbers import Real

from .errors import PrefGenError

MOST_SHOWN = 60
"""Characters of a value that a message shows."""


def is_number(value: object) -> bool:
    """Whether a value is a number of any kind, NaN too. Through a link of any type ComfyUI hands on whatever comes."""
    return isinstance(value, Real)


def shown(value: object) -> str:
    """A value for a message: a number in few digits, anything else as Python writes it, cut where it is long."""
    if isinstance(value, str):
        return repr(value) if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]!r}..."
    try:
        text = f"{value:g}" if is_number(value) else repr(value)
    except OverflowError:  # a whole number that no float holds
        text = f"{'-' * (value < 0)}inf"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def require_text(text: str, what: str, error: type[PrefGenError] = PrefGenError) -> None:
    """Raise `error`, naming `what` it is, for text with half a character in it, as JSON can spell it."""
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise error(f"{what} is {shown(text)}, which has half a character: write it anew.") from fault
