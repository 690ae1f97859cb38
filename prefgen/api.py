"""Imports every name of the public API; `prefgen/__init__.py` loads this module on first use."""

# ruff: noqa: F401
from __future__ import annotations

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
