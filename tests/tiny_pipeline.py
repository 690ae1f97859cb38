"""A tiny random SDXL pipeline in diffusers' layout, for examples and trainings."""

from pathlib import Path

import torch

from prefgen.pocket import shapes
from train.tiny_sdxl import write_clip_tokenizer


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
    tokenizer = write_clip_tokenizer(folder / "words")
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
