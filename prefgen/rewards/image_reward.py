"""ImageReward (arXiv 2304.05977): BLIP's text encoder with cross-attention to the image, and an MLP head.

imscore's class downloads other models when it is created, so the same layers are put together here, with imscore's
tensor names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import RewardError
from ..validation import errors_as
from .files import WEIGHTS, load_weights, read_weights
from .preprocess import resize_and_crop

VOCABULARY = "vocab.txt"
MAX_TOKENS = 35
"""Number of tokens of a prompt that ImageReward uses."""

MEAN, STD = 0.16717362830052426, 1.0333394966054072
"""Mean and standard deviation of ImageReward's raw output on its training data, as published."""

HEAD_SIZE = 64
"""Width of an attention head in BLIP and BERT."""


class ImageReward(nn.Module):
    """ImageReward. Text and image meet in every layer, so only the tokens of a prompt can be computed in advance.

    Args:
        shapes: Sizes of the layers, from `_read_shapes`.
        vocabulary: BERT's vocab.txt.
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
            **{"vocab_size": shapes["vocabulary"], "hidden_size": text, "intermediate_size": shapes["intermediate"]},
            **{"num_hidden_layers": shapes["text_layers"], "num_attention_heads": text // HEAD_SIZE},
            **{"max_position_embeddings": shapes["positions"], "pad_token_id": 0, "layer_norm_eps": 1e-12},
        )
        config.encoder_width = vision
        self.size = shapes["size"]
        self.blip = nn.Module()
        self.blip.visual_encoder = VisionTransformer(
            self.size, 16, embed_dim=vision, depth=shapes["vision_layers"], num_heads=vision // HEAD_SIZE
        )
        self.blip.text_encoder = BertModel(config)
        self.blip.vision_proj = nn.Linear(vision, joint)
        self.blip.text_proj = nn.Linear(text, joint)
        self.mlp = MLP(text)
        self.tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding(length=MAX_TOKENS)

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Return the token ids of the prompts, (P, 35). Padding is 0."""
        ids = [encoded.ids for encoded in self.tokenizer.encode_batch(prompts)]
        return torch.tensor(ids, device=self.blip.vision_proj.weight.device)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Score images (B, 3, H, W) in [0, 1] with their token ids (B, 35). Returns (B,)."""
        weight = self.blip.vision_proj.weight
        image_tokens = self.blip.visual_encoder(resize_and_crop(images.to(weight.device), self.size, weight.dtype))
        image_mask = torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=weight.device)
        states = self.blip.text_encoder(texts, texts > 0, image_tokens, image_mask)
        return (self.mlp(states[:, 0])[:, 0].float() - MEAN) / STD


def load_image_reward(files: Mapping[str, Path]) -> ImageReward:
    """Load ImageReward v1, with the sizes of the tensors in the file."""
    path = files[WEIGHTS]
    tensors = read_weights(path)
    problem = f"{path} is not ImageReward in imscore's layout"
    with errors_as(RewardError, problem, "Download the file again.", (KeyError, ValueError, IndexError)):
        reward = ImageReward(_read_shapes(tensors), files[VOCABULARY])
    load_weights(reward, tensors, path)
    return reward


def _read_shapes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    vision, text = "blip.visual_encoder.", "blip.text_encoder."
    patches = tensors[f"{vision}pos_embed"].shape[1] - 1
    vocabulary, text_width = tensors[f"{text}embeddings.word_embeddings.weight"].shape
    return {
        "vision": tensors[f"{vision}pos_embed"].shape[2],
        "vision_layers": _count_layers(tensors, f"{vision}blocks."),
        "size": 16 * round(patches**0.5),
        "vocabulary": vocabulary,
        "text": text_width,
        "text_layers": _count_layers(tensors, f"{text}encoder.layer."),
        "intermediate": tensors[f"{text}encoder.layer.0.intermediate.dense.weight"].shape[0],
        "positions": tensors[f"{text}embeddings.position_embeddings.weight"].shape[0],
        "joint": tensors["blip.vision_proj.weight"].shape[0],
    }


def _count_layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in tensors if name.startswith(prefix))
