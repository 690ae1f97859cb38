"""The preference adapter: turns a user embedding into user tokens, and adds a cross-attention to them in every block.

The new cross-attention is decoupled from the text's, as in IP-Adapter. ``config.py`` has the shapes, ``model.py`` the
weights, ``fusion.py`` and ``codebook.py`` two ways to combine the parts of an embedding, ``blocks.py`` the weights of
the UNet's blocks, ``attention.py`` the added attention, ``diffusers.py`` the installation in a diffusers UNet for
training. ComfyUI's side is ``nodes/attention/unet.py``, which uses the same weights.
"""

from .attention import decoupled_attention
from .codebook import CodebookLogits
from .config import PARTS, AdapterConfig, UserParts
from .diffusers import diffusers_block_name, install_in_diffusers
from .model import PreferenceAdapter
from .noise import gumbel_noise

__all__ = [
    "PARTS",
    "AdapterConfig",
    "CodebookLogits",
    "PreferenceAdapter",
    "UserParts",
    "decoupled_attention",
    "diffusers_block_name",
    "gumbel_noise",
    "install_in_diffusers",
]
