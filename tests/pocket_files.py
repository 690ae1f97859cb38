"""Random weights in the shapes of the pocket models, for tests that must not lean on what was trained."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from prefgen.pocket import shapes
from prefgen.pocket.taesd import CORE_WIDTH


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


def vae(width: int = shapes.TAESD_WIDTH) -> dict[str, torch.Tensor]:
    """A narrow TAESD in core's names: encoder layers 0 to 14, decoder layers 1 to 18."""
    state = {"vae_scale": torch.tensor(shapes.SDXL_LATENT_SCALE), "vae_shift": torch.tensor(0.0)}

    def conv(name: str, into: int, out: int, bias: bool = True) -> None:
        layer = torch.nn.Conv2d(into, out, 3, padding=1, bias=bias)
        state.update({f"{name}.{key}": tensor.detach() for key, tensor in layer.state_dict().items()})

    def block(name: str) -> None:
        for index in (0, 2, 4):
            conv(f"{name}.conv.{index}", width, width)

    conv("taesd_encoder.0", 3, width)
    for index in (1, 3, 4, 5, 7, 8, 9, 11, 12, 13):
        block(f"taesd_encoder.{index}")
    for index in (2, 6, 10):
        conv(f"taesd_encoder.{index}", width, width, bias=False)
    conv("taesd_encoder.14", width, shapes.LATENT_CHANNELS)
    conv("taesd_decoder.1", shapes.LATENT_CHANNELS, width)
    for index in (3, 4, 5, 8, 9, 10, 13, 14, 15, 18):
        block(f"taesd_decoder.{index}")
    for index in (7, 12, 17):
        conv(f"taesd_decoder.{index}", width, width, bias=False)
    conv("taesd_decoder.19", width, 3)
    assert width <= CORE_WIDTH
    return state
