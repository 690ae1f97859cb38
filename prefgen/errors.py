"""Exceptions of this package. Each message is a complete sentence for the person who caused the error."""

import unicodedata
from numbers import Real

MAX_SHOWN = 60
"""Maximum number of characters of a value in an error message."""

MAX_LENGTH = 2000
"""Maximum characters of a message. It may quote a name from a file, which may be as long as the file."""


class PrefGenError(ValueError):
    """Base class of all errors that input causes: a graph, a file, a request or a command line.

    A message may quote text from a file. Control characters and unpaired surrogates are escaped: the former move a
    terminal's cursor, and the latter end the thread that writes them to a log, which stops ComfyUI's queue.

    Args:
        message: The whole sentence. Its middle is cut out where it is longer than `MAX_LENGTH`.
    """

    __module__ = "prefgen.errors"

    def __init_subclass__(cls) -> None:
        """Remove ComfyUI's load path from the module name, because ComfyUI shows and logs that name."""
        super().__init_subclass__()
        pack, _, module = cls.__module__.partition(".")
        cls.__module__ = module if "/" in pack or "\\" in pack else cls.__module__

    def __init__(self, message: str) -> None:
        if len(message) > MAX_LENGTH:
            message = f"{message[: MAX_LENGTH // 2]} ... {message[-MAX_LENGTH // 2 :]}"
        super().__init__("".join(map(_escape_unprintable, message)))


def _escape_unprintable(character: str) -> str:
    if character == "\n" or unicodedata.category(character) not in ("Cc", "Cs"):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()


class ImageError(PrefGenError):
    """An image tensor or file that cannot be used."""


class HistoryError(PrefGenError):
    """A user history that cannot be used."""


class ProfileError(PrefGenError):
    """A profile that cannot be used, or a request to it that cannot be carried out."""


class ProfileNotFoundError(ProfileError):
    """A profile, or an image of a profile, that does not exist."""


class ProfileUnavailableError(ProfileError):
    """A profile that cannot be read or written now: the disk is full, access is denied, or another program holds it."""


class NothingToUndoError(ProfileError):
    """A request to undo a rating, but there is no rating to undo."""


class CheckpointError(PrefGenError):
    """A preference checkpoint that cannot be used."""


class EmbeddingError(PrefGenError):
    """A user embedding that cannot be used."""


class ModelError(PrefGenError):
    """A diffusion model, or an input of one, that cannot be used."""


class RewardError(PrefGenError):
    """A reward that cannot be computed, or that has no gradient."""


class NonfiniteGradientError(RewardError):
    """A gradient with NaN or infinite values."""


def error_message(error: PrefGenError | OSError) -> str:
    """Return the sentence with which a command line ends. For a system error it names the file."""
    if isinstance(error, PrefGenError):
        return str(error)
    return f"{error.filename or 'a file'}: {error.strerror or error}."


def format_value(value: object) -> str:
    """Format a value for an error message, in one short line.

    Numbers have few digits. Objects with a long repr, such as tensors and models, are named by their type.
    """
    if isinstance(value, str):
        return repr(value) if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]!r}..."
    try:
        text = f"{value:g}" if isinstance(value, Real) and not isinstance(value, bool) else repr(value)
    except OverflowError:  # an integer too large for a float
        text = f"{'-' * (value < 0)}inf"
    if not isinstance(value, list | tuple | dict) and (len(text) > MAX_SHOWN or "\n" in text or text[:1] == "<"):
        return f"a value of type {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
