"""Rewards of imscore's own layers: LAION's aesthetic score, and ImageReward (arXiv 2304.05977).

Their classes in imscore fetch other models when they are made, so the same layers are put together here; names of
tensors are imscore's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import RewardError
from .clip import VIT_L, described_by
from .files import WEIGHTS, fill, read_weights
from .preprocess import cropped

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

VOCABULARY = "vocab.txt"
WORDS = 35
"""Tokens of a prompt that ImageReward reads."""

MEAN, STD = 0.16717362830052426, 1.0333394966054072
"""Of ImageReward's raw output over its own data, as published."""

HEAD = 64
"""Width of an attention head in BLIP and BERT."""


class AestheticReward(nn.Module):
    """LAION's aesthetic score (about 1 to 10): a linear head in five layers over CLIP ViT-L's embedding. No prompt."""

    def __init__(self, clip: CLIPVisionModelWithProjection, mlp: nn.Module) -> None:
        super().__init__()
        self.clip = clip
        self.mlp = mlp

    def read(self, prompts: list[str]) -> Tensor:
        """Nothing of the prompts: (P, 0)."""
        return torch.empty(len(prompts), 0)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> (B,)."""
        pixels = cropped(images.to(self.clip.device), self.clip.config.image_size, self.clip.dtype)
        return self.mlp(F.normalize(self.clip(pixel_values=pixels).image_embeds, dim=-1))[:, 0].float()


class ImageReward(nn.Module):
    """ImageReward: BLIP's text encoder looks at the image, and a head reads its first state.

    Text and image meet in every layer, so of the prompt only the tokens can be made once.
    """

    def __init__(self, shapes: Mapping[str, int], vocabulary: Path) -> None:
        from imscore.imreward.bert import BertModel
        from imscore.imreward.model import MLP
        from imscore.imreward.vit import VisionTransformer
        from tokenizers import BertWordPieceTokenizer
        from transformers import BertConfig

        super().__init__()
        vision, text, joint = shapes["vision"], shapes["text"], shapes["joint"]
        config = BertConfig(
            **{"vocab_size": shapes["words"], "hidden_size": text, "intermediate_size": shapes["intermediate"]},
            **{"num_hidden_layers": shapes["text_layers"], "num_attention_heads": text // HEAD},
            **{"max_position_embeddings": shapes["positions"], "pad_token_id": 0, "layer_norm_eps": 1e-12},
        )
        config.encoder_width = vision
        self.size = shapes["size"]
        self.blip = nn.Module()
        self.blip.visual_encoder = VisionTransformer(
            self.size, 16, embed_dim=vision, depth=shapes["vision_layers"], num_heads=vision // HEAD
        )
        self.blip.text_encoder = BertModel(config)
        self.blip.vision_proj = nn.Linear(vision, joint)
        self.blip.text_proj = nn.Linear(text, joint)
        self.mlp = MLP(text)
        self.tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        self.tokenizer.enable_truncation(WORDS)
        self.tokenizer.enable_padding(length=WORDS)

    def read(self, prompts: list[str]) -> Tensor:
        """The prompts' token ids (P, 35), padding 0."""
        ids = [encoded.ids for encoded in self.tokenizer.encode_batch(prompts)]
        return torch.tensor(ids, device=self.blip.vision_proj.weight.device)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], texts (B, 35) -> (B,)."""
        weight = self.blip.vision_proj.weight
        seen = self.blip.visual_encoder(cropped(images.to(weight.device), self.size, weight.dtype))
        whole = torch.ones(seen.shape[:2], dtype=torch.bool, device=weight.device)
        states = self.blip.text_encoder(texts, texts > 0, seen, whole)
        return (self.mlp(states[:, 0])[:, 0].float() - MEAN) / STD


def load_aesthetic(files: Mapping[str, Path]) -> AestheticReward:
    """LAION's aesthetic score, on CLIP ViT-L/14 or what a config.json beside the weights describes."""
    from imscore.aesthetic.model import MLP
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    path = files[WEIGHTS]
    described = described_by(path.with_name("config.json"))
    usual = VIT_L["vision_config"]
    config = CLIPVisionConfig(**(described if described.get("model_type") == "clip_vision_model" else usual))
    reward = AestheticReward(CLIPVisionModelWithProjection(config), MLP())
    fill(reward, read_weights(path), path)
    return reward


def load_image_reward(files: Mapping[str, Path]) -> ImageReward:
    """ImageReward v1; its sizes are read off the tensors."""
    path = files[WEIGHTS]
    tensors = read_weights(path)
    try:
        reward = ImageReward(_shapes(tensors), files[VOCABULARY])
    except (KeyError, ValueError, IndexError) as error:
        raise RewardError(f"{path} is not imscore's ImageReward ({error}): get the file again.") from error
    fill(reward, tensors, path)
    return reward


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    see, read = "blip.visual_encoder.", "blip.text_encoder."
    patches = tensors[f"{see}pos_embed"].shape[1] - 1
    words, text = tensors[f"{read}embeddings.word_embeddings.weight"].shape
    return {
        "vision": tensors[f"{see}pos_embed"].shape[2],
        "vision_layers": _layers(tensors, f"{see}blocks."),
        "size": 16 * round(patches**0.5),
        "words": words,
        "text": text,
        "text_layers": _layers(tensors, f"{read}encoder.layer."),
        "intermediate": tensors[f"{read}encoder.layer.0.intermediate.dense.weight"].shape[0],
        "positions": tensors[f"{read}embeddings.position_embeddings.weight"].shape[0],
        "joint": tensors["blip.vision_proj.weight"].shape[0],
    }


def _layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in tensors if name.startswith(prefix))
