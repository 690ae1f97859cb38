"""Trains the pocket CLIP on captioned posters: SDXL's two text encoders and an image encoder."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from prefgen.embedding.image_tower import load_image_tower
from prefgen.pocket.shapes import CLIP_G, CLIP_L, FOLDER, IMAGE_SIZE
from train.data.posters import ATTRIBUTES, Attributes, random_caption
from train.loop import LoopConfig, device_of, fit, generator_of
from train.pocket import text
from train.pocket.poster_batches import drawn_batch, soften

CONFIG = LoopConfig(steps=2000, learning_rate=1.2e-3, ema=0.995, bfloat16=True)
BATCH, LENGTH = 64, 32  # captions have fewer than 32 tokens; causal attention ignores padding
# Words outside the vocabulary. They train the "unknown" row to carry no meaning.
_FILLERS = ("beautiful", "my", "favourite", "art", "best", "nice", "illustration", "detailed")
VISION_FILE = FOLDER / "clip_vision.safetensors"
VISION = {
    "image_size": IMAGE_SIZE,
    "patch_size": 12,
    "hidden_size": 96,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "projection_dim": CLIP_G.hidden,
}


class PocketCLIP(nn.Module):
    """Two text encoders and an image encoder, with attribute heads that speed up the first minutes of training."""

    def __init__(self):
        super().__init__()
        self.clip_l, self.clip_g = text.build(CLIP_L), text.build(CLIP_G)
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
        for tower in (self.clip_l, self.clip_g, self.vision):
            tower.set_attn_implementation("eager")  # in bfloat16 on a CPU, twice as fast as the fused kernel
        self.to_l = nn.Linear(CLIP_G.hidden, CLIP_L.hidden, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.heads = nn.ModuleDict({n: nn.Linear(CLIP_G.hidden, len(v)) for n, v in ATTRIBUTES.items()})


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Return CLIP's symmetric cross-entropy over a batch (Radford et al. 2021). Embeddings are (B, D), unnormalised."""
    logits = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T * scale.exp().clamp(max=100)
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def _caption(row: np.ndarray, rng: np.random.Generator) -> str:
    words = random_caption(Attributes.from_indices(row), rng, subject=0.8, each=0.7)
    return f"{rng.choice(_FILLERS)} {words}" if rng.random() < 0.15 else words


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 31) -> dict[str, float]:
    """Train, write text_encoders.safetensors and clip_vision.safetensors, and return zero-shot accuracies."""
    torch.manual_seed(seed)
    model = PocketCLIP()

    def loss_of(model, step):
        images, indices = drawn_batch(BATCH, seed, step)
        rng = np.random.default_rng([seed, step, 1])
        device = device_of(model)
        tokens = text.tokenize([_caption(row, rng) for row in indices], LENGTH).to(device)
        softened = soften(images, generator_of(seed, step)).to(device)
        embeddings = model.vision(softened * 2 - 1).image_embeds.float()
        loss = contrastive_loss(embeddings, model.clip_g(tokens).text_embeds.float(), model.scale)
        loss_l = contrastive_loss(model.to_l(embeddings), model.clip_l(tokens).text_embeds, model.scale)
        heads = zip(model.heads.values(), torch.from_numpy(indices).T.to(device), strict=True)
        attribute_loss = sum(F.cross_entropy(head(embeddings), target) for head, target in heads)
        return {"loss": loss + loss_l + 0.3 * attribute_loss, "clip": loss, "read": attribute_loss}

    model = fit(model, loss_of, config, folder / "clip")
    save_file(text.to_file(model.clip_l, model.clip_g), text.FILE)
    save_vision(model.vision)
    return zero_shot()


def save_vision(tower: CLIPVisionModelWithProjection) -> None:
    """Write clip_vision.safetensors in half precision, with the configuration in its metadata."""
    state = {k: v.half().contiguous() for k, v in tower.state_dict().items() if "position_ids" not in k}
    save_file(state, VISION_FILE, metadata={"config": json.dumps(VISION)})


def load_vision() -> CLIPVisionModelWithProjection:
    """Load the shipped image encoder, frozen. It expects pixels in [-1, 1]."""
    return load_image_tower(VISION_FILE).model.requires_grad_(False).eval()


@cache
def _text_encoders() -> text.TextEncoders:
    return text.load()


def encode_text(captions: list[str]) -> Tensor:
    """Return pooled CLIP-G embeddings of captions, (B, 128), unnormalised. `sem` is aligned to this space."""
    return _text_encoders()(captions)[1]


@torch.no_grad()
def zero_shot(seed: int = 92, count: int = 512) -> dict[str, float]:
    """Return the per-attribute zero-shot accuracy on new drawings."""
    images, indices = drawn_batch(count, seed, 0)
    embeddings = F.normalize(load_vision()(images * 2 - 1).image_embeds, dim=-1)
    scores = {}
    for column, (name, values) in enumerate(ATTRIBUTES.items()):
        phrases = F.normalize(encode_text(list(values.values())), dim=-1)
        correct = (embeddings @ phrases.T).argmax(-1) == torch.from_numpy(indices[:, column])
        scores[name] = round(float(correct.float().mean()), 4)
    return scores
