"""A tiny random SDXL pipeline in diffusers' layout, for examples and trainings."""

import json
from pathlib import Path

import torch

from prefgen.pocket import shapes


def write_pipeline(folder: Path) -> Path:
    """Write a StableDiffusionXLPipeline with random weights and return its folder."""
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    tokenizer = write_tokenizer(folder / "words")
    common = {
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "intermediate_size": 32,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.13025,
    )
    pipe = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(hidden_size=64, **common)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=128, projection_dim=128, **common)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=UNet2DConditionModel(**shapes.UNET.diffusers_kwargs()),
        scheduler=EulerDiscreteScheduler(timestep_spacing="trailing"),
    )
    pipe.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def write_tokenizer(folder: Path):
    """Write a CLIP tokenizer that knows single letters, and return it."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
