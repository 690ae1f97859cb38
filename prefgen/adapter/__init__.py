"""The preference adapter: a user embedding becomes user tokens, and user tokens become a second, decoupled
cross-attention beside the text's in every block of SDXL's UNet.

``config.py`` says what an adapter is shaped like, ``fusion.py`` brings the parts' tokens together, ``words.py`` lets
the parts choose them, ``model.py`` computes tokens, keys and values, ``attention.py`` is the branch itself,
``diffusers.py`` puts it into diffusers' UNet for training. ComfyUI's side lives in ``nodes/attention/unet.py`` and
reads the same weights.
"""

from .attention import decoupled_attention
from .codebook import Spoken, gumbel_noise
from .config import PARTS, AdapterConfig, UserParts
from .diffusers import diffusers_block_name, install_in_diffusers
from .model import PreferenceAdapter

__all__ = [
    "PARTS",
    "AdapterConfig",
    "PreferenceAdapter",
    "Spoken",
    "UserParts",
    "decoupled_attention",
    "diffusers_block_name",
    "gumbel_noise",
    "install_in_diffusers",
]
