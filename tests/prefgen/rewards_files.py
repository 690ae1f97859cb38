"""Published rewards as small as their classes let them be, random, as files and as imscore's own objects."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

SIZE = 28
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = TEXT | {"image_size": SIZE, "patch_size": 14}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "red", "##s", "house", ","]


def shaken(model: nn.Module) -> nn.Module:
    """Random weights large enough that everything matters."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.normal_(std=0.2)
    return model.eval().requires_grad_(False)


def write(folder: Path, name: str, state: dict, **texts: str) -> Path:
    """The files of one reward: its tensors, and others by their stem; returns the weights' path."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / name / "model.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    for file, text in texts.items():
        (folder / name / file.replace("_dot_", ".")).write_text(text)
    return path


def clip_model():
    """transformers' CLIP; its vocabulary is CLIP's own."""
    from transformers import CLIPConfig, CLIPModel

    tower = {"projection_dim": 16}
    config = CLIPConfig(projection_dim=16, text_config=TEXT | tower, vision_config=VISION | tower)
    return shaken(CLIPModel(config))


def write_clip(folder: Path, name: str = "clip", prefix: str = "") -> nn.Module:
    """`clip` or `pickscore`; with the prefix "model." as imscore's files have it."""
    model = clip_model()
    state = {prefix + key: tensor for key, tensor in model.state_dict().items()}
    write(folder, name, state, config_dot_json=json.dumps(model.config.to_dict()))
    return model


def write_hps(folder: Path):
    """imscore's HPSv2, which would fetch its base when made the usual way."""
    import open_clip
    import torchvision
    from imscore.hps.model import HPSv2, ResizeMaxSize

    from prefgen.rewards.preprocess import MEAN, STD

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": SIZE, "layers": 1, "width": 32, "head_width": 16, "patch_size": 14},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    peer = unmade(HPSv2)
    peer.model = shaken(open_clip.CLIP(**config, output_dict=True))
    peer.tokenizer = open_clip.get_tokenizer("ViT-H-14")
    peer.resize, peer.normalize = ResizeMaxSize(SIZE), torchvision.transforms.Normalize(MEAN, STD)
    write(folder, "hps", peer.state_dict(), open_clip_config_dot_json=json.dumps({"model_cfg": config}))
    return peer


def write_aesthetic(folder: Path):
    """imscore's LAIONAestheticScorer; its head wants 768 numbers."""
    from imscore.aesthetic.model import MLP, LAIONAestheticScorer
    from torchvision import transforms
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from prefgen.rewards.preprocess import MEAN, STD

    peer = unmade(LAIONAestheticScorer)
    peer.clip, peer.mlp = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=768)), MLP()
    bicubic = transforms.InterpolationMode.BICUBIC
    peer.resize, peer.crop = transforms.Resize(SIZE, interpolation=bicubic), transforms.CenterCrop(SIZE)
    peer.normalize = transforms.Normalize(MEAN, STD)
    shaken(peer)
    write(folder, "aesthetic", peer.state_dict(), config_dot_json=json.dumps(peer.clip.config.to_dict()))
    return peer


def write_image_reward(folder: Path):
    """imscore's ImageReward: two layers each, 32 pixels, eleven words."""
    from imscore.imreward.bert import BertModel
    from imscore.imreward.model import MLP, ImageReward
    from imscore.imreward.vit import VisionTransformer
    from torchvision import transforms
    from transformers import BertConfig, BertTokenizer

    from prefgen.rewards.preprocess import MEAN, STD

    config = BertConfig(
        **{"vocab_size": len(WORDS), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2},
        **{"num_attention_heads": 1, "max_position_embeddings": 40, "pad_token_id": 0, "layer_norm_eps": 1e-12},
    )
    config.encoder_width = 64
    peer = unmade(ImageReward)
    peer.blip = nn.Module()
    peer.blip.visual_encoder = VisionTransformer(32, 16, embed_dim=64, depth=2, num_heads=1)
    peer.blip.text_encoder = BertModel(config)
    peer.blip.vision_proj, peer.blip.text_proj = nn.Linear(64, 8), nn.Linear(64, 8)
    peer.mlp = MLP(64)
    bicubic = transforms.InterpolationMode.BICUBIC
    resize = transforms.Resize(32, interpolation=bicubic)
    peer.preprocess = transforms.Compose([resize, transforms.CenterCrop(32), transforms.Normalize(MEAN, STD)])
    peer.mean, peer.std = 0.16717362830052426, 1.0333394966054072
    shaken(peer)
    write(folder, "image_reward", peer.state_dict(), vocab_dot_txt="\n".join(WORDS))
    peer.blip.tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})
    return peer


def unmade(kind: type) -> nn.Module:
    """An object of imscore's class without its own initialisation, which fetches models."""
    peer = kind.__new__(kind)
    nn.Module.__init__(peer)
    return peer
