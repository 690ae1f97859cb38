"""Writes tiny random models in published layouts, for `train.sdxl_path --size tiny`: Idefics2, SDXL and CLIP."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from prefgen.pocket import shapes
from prefgen.prefdisc.base.base_model import build_base

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
SPECIAL = ("[UNK]", "<s>", "<image>", "<fake_token_around_image>", "<end_of_utterance>")
WORDS = ("User", "Assistant", ":", "?", "'", "+", "-", "The", "prompt", "is", "Score", "for", "this", "image")
LATENTS, WIDTH = 2, 32


def write_idefics2(folder: Path, words: tuple[str, ...] = ()) -> Path:
    """Write an Idefics2 model as a Hugging Face folder, with a word-level tokenizer.

    Args:
        folder: The folder.
        words: Words that the tokenizer knows in addition to those of the chat template.
    """
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*SPECIAL, *WORDS, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in SPECIAL])
    small = {"num_attention_heads": 2, "num_hidden_layers": 2}
    config = {
        "image_token_id": vocabulary["<image>"],
        "vision_config": {"hidden_size": 16, "intermediate_size": 32, "image_size": 24, "patch_size": 6, **small},
        "perceiver_config": {
            **{"hidden_size": WIDTH, "resampler_n_latents": LATENTS, "resampler_depth": 1, "resampler_n_heads": 2},
            **{"resampler_head_dim": 8, "num_key_value_heads": 1},
        },
        "text_config": {
            **{"model_type": "mistral", "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 4},
            **{"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(vocabulary)},
            **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 4},
        },
    }
    torch.manual_seed(0)
    model = build_base(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)  # large enough for images and tokens to affect the output
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_sdxl(folder: Path) -> Path:
    """Write an SDXL pipeline in diffusers' layout, with the pocket generator's shapes and random weights."""
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(1)
    tokenizer = write_clip_tokenizer(folder / "words")
    common = {"num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 32, "vocab_size": len(tokenizer)}
    common |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.13025,
    )
    unet = UNet2DConditionModel(**shapes.UNET.diffusers_kwargs())
    # With an untrained output layer, which is zero, all users would get the same picture.
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    pipe = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(hidden_size=64, **common)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=128, projection_dim=128, **common)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    )
    pipe.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def write_clip(folder: Path, seed: int = 2) -> Path:
    """Write a CLIP image encoder and its preprocessor as a Hugging Face folder."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPVisionConfig(**sizes, image_size=24, patch_size=8, projection_dim=20)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    size = {"shortest_edge": 24}
    CLIPImageProcessor(size=size, crop_size={"height": 24, "width": 24}).save_pretrained(folder)
    return folder


def write_clip_tokenizer(folder: Path):
    """Write a CLIP tokenizer that knows single letters, and return it."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
