"""Small models that replace the large ones in workflows, and images to score.

They are created from the files of one checkout and placed in both servers, so that both revisions read the same bytes.
They depend only on the format of the bundled checkpoint, not on the code of either revision.
"""

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

CONVERTED_CHECKPOINT = "learn-user-pref.safetensors"
IP_ADAPTER = "ip-adapter_sdxl_vit-h.safetensors"
IMAGE_FOLDER = "to_sort"
IP_ADAPTER_TOKENS = 4

NODES = {"CheckpointLoaderSimple": "LoadPocketGenerator", "CLIPVisionLoader": "ProbePocketClipVision"}
"""Core's loaders of large models -> the node that loads a pocket model with the same outputs."""

SETTINGS = {
    "EmptyLatentImage": {"width": 96, "height": 96},
    "KSampler": {"steps": 12, "cfg": 2.5},
    "SDTurboScheduler": {"steps": 4},
}
"""Settings for the pocket models, which replace a workflow's settings for large models."""

WRITE_CLIP_REWARD = "import sys, pathlib; from tests.prefgen.rewards_files import write_clip; "
WRITE_CLIP_REWARD += "write_clip(pathlib.Path(sys.argv[1]))"


def use_pocket_models(graph: dict[str, dict]) -> dict[str, dict]:
    """Return a workflow with pocket models instead of large ones. Workflows without large models are not changed."""
    if not any(node["class_type"] in NODES for node in graph.values()):
        return graph
    replaced = copy.deepcopy(graph)
    for node in replaced.values():
        if node["class_type"] in NODES:
            node.update(class_type=NODES[node["class_type"]], inputs={})
        node["inputs"].update(SETTINGS.get(node["class_type"], {}))
    return replaced


def write_stand_ins(checkout: Path, base: Path) -> None:
    """Put the files that the graphs refer to into a server's base folder.

    Args:
        checkout: Checkout whose bundled files are used. For both servers, this is the earlier revision.
        base: The server's base folder.
    """
    pocket = checkout / "prefgen" / "pocket"
    models = base / "models"
    (models / "prefgen").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pocket / "preference.safetensors", models / "prefgen" / CONVERTED_CHECKPOINT)
    write_ip_adapter(pocket / "preference.safetensors", models / "ipadapter" / IP_ADAPTER)
    write_images(checkout, base / "input" / IMAGE_FOLDER)
    rewards = str(models / "prefgen" / "rewards")
    subprocess.run([sys.executable, "-c", WRITE_CLIP_REWARD, rewards], cwd=checkout, check=True, capture_output=True)


def write_images(checkout: Path, folder: Path) -> None:
    """Copy eight images that the bundled people like."""
    folder.mkdir(parents=True, exist_ok=True)
    for person in ("ada", "bo"):
        for index in range(4):
            source = checkout / "prefgen" / "pocket" / "people" / person / f"liked_{index}.png"
            shutil.copyfile(source, folder / f"{person}_{index}.png")


def write_ip_adapter(checkpoint: Path, path: Path) -> None:
    """Write an IP-Adapter in its published layout: keys and values of the bundled adapter, a random projection."""
    adapter = load_file(checkpoint)
    names = sorted({name.split(".")[2] for name in adapter if name.startswith("adapter.blocks.")}, key=diffusers_order)
    context_dim = adapter[f"adapter.blocks.{names[0]}.to_k.weight"].shape[1]
    image_dim = adapter["adapter.choice.votes.img.weight"].shape[1]
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "image_proj.proj.weight": torch.randn(IP_ADAPTER_TOKENS * context_dim, image_dim, generator=generator),
        "image_proj.proj.bias": torch.randn(IP_ADAPTER_TOKENS * context_dim, generator=generator),
        "image_proj.norm.weight": torch.ones(context_dim),
        "image_proj.norm.bias": torch.zeros(context_dim),
    }
    for index, name in enumerate(names):
        for kind in ("k", "v"):
            # attn1 and attn2 alternate in diffusers' list, and only attn2 has keys and values for images
            weight = adapter[f"adapter.blocks.{name}.to_{kind}.weight"]
            tensors[f"ip_adapter.{2 * index + 1}.to_{kind}_ip.weight"] = weight.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)


def diffusers_order(name: str) -> tuple:
    """Sort key of a block such as "input_4_0": diffusers lists down, up, middle."""
    part, *numbers = name.split("_")
    return ("input", "output", "middle").index(part), *map(int, numbers)
