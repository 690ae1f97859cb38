"""PrefGen: learns one person's taste from liked and disliked images, and makes image models paint to it.

This module is the public API. Names are imported on first use, so that `import prefgen` is fast.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapter import PreferenceAdapter, install_in_diffusers
    from .checkpoint.ip_adapter import load_ip_adapter
    from .checkpoint.preference_model import PreferenceModel, load_preference_model
    from .embedding import UserEmbedding, blend, distance, encode_user, load_embedding, save_embedding
    from .history import LikedImages, PreferencePair, UserHistory
    from .images import read_image
    from .reno import RenoConfig, RenoResult, RenoStep, optimize_noise
    from .rewards import AugmentedReward, PreferenceReward, WeightedRewards
