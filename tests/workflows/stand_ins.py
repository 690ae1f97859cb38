"""Pocket models in the place of the big ones that a workflow names, so that every workflow can be run anywhere.

Files go by the very names that the workflows have. A core loader that knows full-size files only is replaced by the
node that puts out the pocket model. Sizes, steps and cfg become the pocket models'.
"""

import copy
import shutil
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.pocket.shapes import UNET, weights_path
from tests.comfyui.server import PACK

PREFERENCE, IP_ADAPTER = "learn-user-pref.safetensors", "ip-adapter_sdxl_vit-h.safetensors"
FOLDER = "to_sort"
NODES = {
    "CheckpointLoaderSimple": "LoadPocketGenerator",  # the same outputs in the same order
    "CLIPVisionLoader": "ProbePocketClipVision",
}
"""Core loaders, and what puts out the pocket model in their place."""
VALUES = {
    "EmptyLatentImage": {0: 96, 1: 96},
    "KSampler": {2: 12, 3: 2.5},
    "SDTurboScheduler": {0: 4},
}
"""What the pocket models want, or what is enough to see: node type -> place of a widget -> its value."""


WORDS = {
    "sd_xl_base_1.0.safetensors": "SDXL",
    "sd_xl_turbo_1.0_fp16.safetensors": "SDXL-Turbo",
    IP_ADAPTER: "IP-Adapter for SDXL",
    "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": "CLIP ViT-H",
    PREFERENCE: "learn-user-pref, Idefics2-8B",
}
"""What the files are called."""


def place(base: Path) -> None:
    """Put the files that workflows name into a server's folders: models, and pictures to sort."""
    models = base / "models"
    write_ip_adapter(models / "ipadapter" / IP_ADAPTER)
    (models / "prefgen").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights_path("preference"), models / "prefgen" / PREFERENCE)
    folder = base / "input" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for person in ("ada", "bo"):
        for place in range(4):
            source = PACK / "prefgen" / "pocket" / "people" / person / f"liked_{place}.png"
            with Image.open(source) as poster:  # of mixed sizes
                poster.crop((0, 0, poster.width, poster.height - 8 * place)).save(folder / f"{person}_{place}.png")


def write_ip_adapter(path: Path) -> None:
    """The pocket adapter's codebook entries, mixed by the logits of `img`, in the published layout of an
    IP-Adapter."""
    adapter = load_preference_model("pocket").require("adapter")
    held, sizes = adapter.state_dict(), adapter.config.codebook_sizes
    words, weights, biases = (
        held[f"codebook.{name}"].split(sizes) for name in ("table", "to_logits.img.weight", "to_logits.img.bias")
    )
    mixed = [word.T @ weight for word, weight in zip(words, weights, strict=True)]
    made = {
        "image_proj.proj.weight": torch.cat(mixed),
        "image_proj.proj.bias": torch.cat([word.T @ bias for word, bias in zip(words, biases, strict=True)]),
        "image_proj.norm.weight": held["codebook.norm.weight"],
        "image_proj.norm.bias": held["codebook.norm.bias"],
    }
    # diffusers lists down, up, middle; attn1 and attn2 take turns
    blocks = sorted(UNET.attention_blocks(), key=lambda block: block[0].startswith("middle"))
    for place, (name, _) in enumerate(blocks):
        for kind in ("k", "v"):
            block = f"blocks.{name.replace('.', '_')}.to_{kind}.weight"
            made[f"ip_adapter.{2 * place + 1}.to_{kind}_ip.weight"] = held[block]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in made.items()}, path)


def needed(workflow: dict) -> bool:
    """Whether a workflow names models that are not here."""
    return any(node["type"] in NODES for node in workflow["nodes"])


def needs(workflow: dict) -> list[str]:
    """The models that a workflow names and that do not come with the pack, in words."""
    named = [str(value) for node in workflow["nodes"] for value in node["widgets_values"]]
    return [words for file, words in WORDS.items() if file in named]


def in_small(workflow: dict) -> dict:
    """A workflow of the browser's format with pocket models in the place of those that are not here."""
    made = copy.deepcopy(workflow)
    for node in made["nodes"] if needed(workflow) else ():
        if node["type"] in NODES:
            node["type"] = NODES[node["type"]]
            node["widgets_values"] = []
            node["properties"] = {"Node name for S&R": node["type"]}
        for place, value in VALUES.get(node["type"], {}).items():
            node["widgets_values"][place] = value
    return made
