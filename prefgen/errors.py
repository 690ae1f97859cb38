"""The one family of errors that people see: what was found, what was expected, what to do."""

import unicodedata

LONGEST = 2000
"""Characters of a message; a name out of a file may be as long as the file."""


class PrefGenError(ValueError):
    """Base of all errors raised for something a person gave us. The message is the whole sentence.

    Words of a file are in it, which may be no text: half a character ends the thread that writes it to a log, and with
    it ComfyUI's queue; a control character moves a terminal's cursor. Such are shown as escapes.
    """

    def __init__(self, message: str) -> None:
        cut = message if len(message) <= LONGEST else f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        super().__init__("".join(map(_shown, cut)))


def _shown(letter: str) -> str:
    odd = unicodedata.category(letter) in ("Cc", "Cs") and letter != "\n"
    return letter.encode("unicode_escape", "surrogatepass").decode() if odd else letter


class ImageError(PrefGenError):
    """An image tensor or file that cannot be used: wrong rank, wrong channels, NaN, unreadable."""


class HistoryError(PrefGenError):
    """A user's history that cannot be used: empty, unequal halves, a broken folder."""


class ProfileError(PrefGenError):
    """A profile that cannot be used or written: its name, its files, what was asked of it."""


class ProfileNotFoundError(ProfileError):
    """A profile, or an image of one, that is not there."""


class ProfileUnavailableError(ProfileError):
    """A profile that cannot be read or written now, through no fault of what was asked: no room, no right, or busy."""


class NothingToUndoError(ProfileError):
    """There is no rating to take back."""


class CheckpointError(PrefGenError):
    """A preference checkpoint that cannot be used: truncated, not ours, another base, a part missing."""


class EmbeddingError(PrefGenError):
    """A user embedding that cannot be used: made by another checkpoint, or lacking a part."""


class ModelError(PrefGenError):
    """A diffusion model that cannot be used: not an SDXL UNet, or shapes that do not fit."""


class RewardError(PrefGenError):
    """A reward that cannot be computed, or that carries no gradient."""


def error_message(error: PrefGenError | OSError) -> str:
    """What a command line says of an error that ends it, the system's with the file that it is about: one sentence."""
    if isinstance(error, PrefGenError):
        return str(error)
    return f"{error.filename or 'a file'}: {error.strerror or error}."
