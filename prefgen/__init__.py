"""PrefGen: learns one person's taste from liked and disliked images, and makes image models paint to it.

This module is the public API. Names are imported on first use, so that `import prefgen` is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapter import PreferenceAdapter, install_in_diffusers
    from .checkpoint.ip_adapter import load_ip_adapter
    from .checkpoint.preference_model import PreferenceModel, load_preference_model
    from .embedding import UserEmbedding, blend, distance, encode_user, load_embedding, save_embedding
    from .errors import PrefGenError
    from .history import LikedImages, PreferencePair, UserHistory
    from .images import read_image
    from .pocket.users import bundled_history, bundled_users
    from .profile import Profiles
    from .reno import RenoConfig, RenoResult, RenoStep, optimize_noise
    from .rewards import AugmentedReward, PreferenceReward, WeightedRewards, load_reward_model

__all__ = [
    "AugmentedReward",
    "LikedImages",
    "PrefGenError",
    "PreferenceAdapter",
    "PreferenceModel",
    "PreferencePair",
    "PreferenceReward",
    "Profiles",
    "RenoConfig",
    "RenoResult",
    "RenoStep",
    "UserEmbedding",
    "UserHistory",
    "WeightedRewards",
    "blend",
    "bundled_history",
    "bundled_users",
    "distance",
    "encode_user",
    "install_in_diffusers",
    "load_embedding",
    "load_ip_adapter",
    "load_preference_model",
    "load_reward_model",
    "optimize_noise",
    "read_image",
    "save_embedding",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
