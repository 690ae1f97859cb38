"""Random weights in the shapes of the pocket models, for tests that must not lean on what was trained."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from prefgen.pocket import shapes


def write_pocket_files(folder: Path, seed: int = 0) -> Path:
    """Write unet, text_encoders and vae into `folder`, fp16 as they ship; returns the folder."""
    torch.manual_seed(seed)
    for part, state in (("unet", unet()), ("text_encoders", text_encoders()), ("vae", vae())):
        halves = {name: x.half() if x.is_floating_point() else x for name, x in state.items()}
        save_file(halves, folder / f"{part}.safetensors")
    return folder


def unet() -> dict[str, torch.Tensor]:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**shapes.UNET.diffusers_kwargs()).state_dict()


def text_encoders(tokens: int = 32) -> dict[str, torch.Tensor]:
    # the paddings and the start token are in every prompt; the others stand for the words of some
    ids = torch.cat([torch.tensor([0, 49406, 49407]), torch.arange(320, 320 + tokens)])
    state = {"token_ids": ids}
    for name, shape in (("clip_l", shapes.CLIP_L), ("clip_g", shapes.CLIP_G)):
        encoder = one_encoder(shape)
        state |= {f"{name}.transformer.{key}": tensor for key, tensor in encoder.items()}
        state[f"{name}.token_rows"] = torch.randn(len(ids), shape.hidden)
        state[f"{name}.unknown_row"] = torch.randn(shape.hidden)
    return state


def one_encoder(shape: shapes.TextShape) -> dict[str, torch.Tensor]:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(**shape.clip_config(), vocab_size=1, max_position_embeddings=77)
    state = CLIPTextModelWithProjection(config).state_dict()
    return {name: x for name, x in state.items() if "token_embedding" not in name and "position_ids" not in name}


def vae() -> dict[str, torch.Tensor]:
    """An untrained thin TAESD, as the file holds it; its images lie about mid-grey, where nothing is clamped."""
    from train.pocket.taesd import ThinTAESD

    state = {name: tensor.detach() for name, tensor in ThinTAESD().state_dict().items()}
    state["taesd_decoder.19.bias"].fill_(0.5)
    return state | {"vae_scale": torch.tensor(shapes.SDXL_LATENT_SCALE), "vae_shift": torch.tensor(0.0)}


def random_lora(unet, file: Path, rank: int = 4, seed: int = 3):
    """Give a UNet a LoRA that is no longer zero, and write it; returns both, as peft runs it and as the file is: with
    the same halves."""
    from train.pocket import lora

    torch.manual_seed(seed)
    grown = lora.add_lora(unet, rank)
    for name, parameter in grown.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.04)
        if "lora_" in name:
            parameter.data.copy_(parameter.data.half())
    save_file(lora.lora_state_dict(grown), file)
    return grown, file
