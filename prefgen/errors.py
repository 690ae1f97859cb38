"""The one family of errors that people see: what was found, what was expected, what to do."""


class PrefGenError(ValueError):
    """Base of all errors raised for something a person gave us. The message is the whole sentence."""


class ImageError(PrefGenError):
    """An image tensor or file that cannot be used: wrong rank, wrong channels, NaN, unreadable."""


class HistoryError(PrefGenError):
    """A user's history that cannot be used: empty, unequal halves, a broken folder."""


class ProfileError(PrefGenError):
    """A profile that cannot be used or written: its name, its files, what was asked of it."""


class ProfileMissing(ProfileError):
    """A profile, or an image of one, that is not there."""


class ProfileUnwritable(ProfileError):
    """A profile that cannot be read or written now, through no fault of what was asked: no room, no right, or busy."""


class NothingToUndo(ProfileError):
    """There is no rating to take back."""


class CheckpointError(PrefGenError):
    """A preference checkpoint that cannot be used: truncated, not ours, another base, a part missing."""


class EmbeddingError(PrefGenError):
    """A user embedding that cannot be used: made by another checkpoint, or lacking a part."""


class ModelError(PrefGenError):
    """A diffusion model that cannot be used: not an SDXL UNet, or shapes that do not fit."""


class RewardError(PrefGenError):
    """A reward that cannot be computed, or that carries no gradient."""
