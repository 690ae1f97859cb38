"""Runs the full SDXL pipeline without pocket models: trains all parts, and generates pictures in a real ComfyUI.

    make python ARGS="-m train.sdxl_path --size tiny"

Writes tiny Idefics2, SDXL and CLIP models with random weights in their published layouts, and a dataset of agents. Then
runs the same commands as for the full-size models: trains PrefDisc in both stages, selects layers, and trains the
alignment and the adapter with sem, core and img. Finally generates pictures with the nodes of this pack on a real
server. The pictures of an untrained SDXL are noise, so the run shows that the pipeline works, but not how good it is.

The last line of the output is JSON:

- "parts": the embedding parts that the adapter uses.
- "painted_differs": whether a user's picture differs from the plain picture and from the second user's picture.
- "strength_0_identical": whether the picture at strength 0 is the plain picture.
- "losses_fall": whether the loss falls in every training run.
- "losses": the mean loss at the beginning and at the end of each training run.
- "seconds": the duration of the run.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prefgen.checkpoint.file import read_checkpoint
from prefgen.prefdisc.config import PrefDiscSpec
from train.adapter.__main__ import main as train_adapter
from train.align.__main__ import main as train_align
from train.data.agent_sets import main as create_agents
from train.prefdisc.config import load_config
from train.prefdisc.dataset import read_users
from train.prefdisc.run import run as train_prefdisc
from train.probe.__main__ import main as probe
from train.tiny_sdxl import LATENTS, write_clip, write_idefics2, write_sdxl

if TYPE_CHECKING:
    from tests.comfyui import Client

BASE = "tiny-idefics2"
SIZE = 24
TURN = "User:<image>The prompt is '{prompt}' Score for this image?<end_of_utterance>\nAssistant: {label}"
FENCE = "<fake_token_around_image>"


def write_models(folder: Path) -> None:
    """Write the models, and a dataset of 12 training and 4 validation agents with ten pairs per agent."""
    create_agents(
        [*("--out", str(folder / "agents"), "--users", "12", "--validation", "4"), *("--seed", "3", "--size", "32")]
    )
    prompts = [pair.prompt for user in read_users(folder / "agents", "train") for pair in user.pairs]
    write_idefics2(folder / "bases" / BASE, tuple(word for prompt in prompts for word in prompt.split()))
    write_sdxl(folder / "sdxl")
    write_clip(folder / "clip")


def prefdisc_settings(folder: Path) -> Path:
    """Write the settings for training PrefDisc: both stages of the 8B recipe, at the tiny size."""
    settings = {
        "output": str(folder / "prefdisc"),
        "base": {"path": str(folder / "bases" / BASE), "id": BASE},
        "data": {
            **{"folder": str(folder / "agents"), "history": 4, "random_order": True},
            **{"image_size": SIZE, "validation": 8},
        },
        "spec": {
            **{"opening": "<s>", "turn": f"{TURN}<end_of_utterance>\n", "labels": ["+", "-"], "whole_text": True},
            **{"image": FENCE + "<image>" * LATENTS + FENCE, "num_tokens": 3, "disliked_first": True},
            **{"longest_edge": SIZE, "shortest_edge": SIZE // 2, "sem_layers": [3, 4], "core_layers": [1, 2]},
        },
        # In stage 2, the published dropout would hide the small gain from so few tokens.
        "lora": {"r": 8, "alpha": 16, "vision": True, "stage_two_dropout": 0.0},
        "tokens": {"first_stage": 2, "init": "uniform"},
        **{"batch": 8, "per_device": 8},
        "stage_one": {"steps": 40, "learning_rate": 2e-2},
        "stage_two": {"steps": 20, "learning_rate": 0.3},
        "training": {
            **{"lr_scheduler_type": "linear", "warmup_steps": 0, "logging_steps": 1, "eval_steps": 100},
            **{"save_steps": 100, "use_cpu": True, "disable_tqdm": True},
        },
    }
    file = folder / "prefdisc.yaml"
    file.write_text(json.dumps(settings))
    return file


def train(folder: Path) -> dict[str, list[float]]:
    """Train all parts, and write `checkpoint.safetensors`.

    Returns:
        For each training run, the mean loss over the first quarter and over the last quarter of the logged steps.
    """
    settings, losses = str(prefdisc_settings(folder)), {}
    for stage in (1, 2):
        result = train_prefdisc(load_config(settings, stage=stage))
        losses[f"prefdisc stage {stage}"] = list(result["losses"].values())
    checkpoint, users = folder / "checkpoint.safetensors", folder / "agents"
    bases = ["--bases", str(folder / "bases")]
    counts = ["--split", "train", "--users", "6", "--pairs", "10", "--history", "2", "--histories", "4"]
    places = ["--out", str(folder / "probe"), "--write", str(checkpoint)]
    probe(["--checkpoint", result["checkpoint"], "--set", str(users), *counts, *places, *bases])
    common = ["--checkpoint", str(checkpoint), "--users", str(users), *bases]
    loop = ["loop.warmup=2", "loop.log_every=1", "loop.ema=0.5"]
    align = ["--text", str(folder / "sdxl" / "pipeline"), "--folder", str(folder / "align")]
    steps = ["loop.steps=40", "loop.learning_rate=3e-3", "batch=8", "groups=1", "hidden_dim=16"]
    train_align([*common, *align, *loop, *steps])
    adapter = ["--sdxl", str(folder / "sdxl" / "pipeline"), "--folder", str(folder / "adapter")]
    adapter += ["--image-tower", str(folder / "clip")]
    steps = ["loop.steps=40", "loop.learning_rate=1e-2", "batch=8", f"size={2 * SIZE}", "caption_dropout=0"]
    train_adapter([*common, *adapter, *loop, *steps])
    for name in ("align", "adapter"):
        (log,) = (folder / name).rglob("log.jsonl")
        losses[name] = [json.loads(row)["loss"] for row in log.read_text().splitlines()]
    quarters = {name: (np.array(values), max(1, len(values) // 4)) for name, values in losses.items()}
    return {
        name: [round(float(part.mean()), 5) for part in (values[:length], values[-length:])]
        for name, (values, length) in quarters.items()
    }


def paint(folder: Path, client: Client) -> dict[str, np.ndarray]:
    """Generate pictures in a real ComfyUI: without the adapter, at strength 0, and for each of two users."""
    from tests.comfyui import Graph

    users = read_users(folder / "agents", "train")[:2]
    models = client.server.base / "models" / "prefgen"
    (models / "base").mkdir(exist_ok=True)
    links = {
        models / "base" / BASE: folder / "bases" / BASE,
        models / "sdxl_path.safetensors": folder / "checkpoint.safetensors",
    }
    for link, target in links.items():
        link.symlink_to(target, target_is_directory=target.is_dir())
    graph = Graph()
    preference = graph.add("LoadPreferenceModel", checkpoint="sdxl_path.safetensors")
    sdxl = graph.add("ProbeSDXL", folder=str(folder / "sdxl" / "pipeline"), prompt="a tree")
    latent = graph.add("EmptyLatentImage", width=2 * SIZE, height=2 * SIZE, batch_size=1)

    def picture(model) -> str:
        sampled = graph.add(
            "KSampler",
            **{"model": model, "positive": sdxl[1], "negative": sdxl[1], "latent_image": latent, "seed": 1},
            **{"steps": 4, "cfg": 1.0, "denoise": 1.0, "sampler_name": "euler", "scheduler": "simple"},
        )
        image = graph.add("ProbeDecode", folder=str(folder / "sdxl" / "pipeline"), samples=sampled)
        return graph.add("ProbeSave", value=image).id

    def person(user) -> list:
        pairs = user.pairs[:4]
        liked, disliked = (
            graph.images([client.upload(getattr(pair, side)) for pair in pairs]) for side in ("liked", "disliked")
        )
        prompts = "\n".join(pair.prompt for pair in pairs)
        history = graph.add("BuildUserHistory", liked=liked, disliked=disliked, prompts=prompts, name=user.user)
        return graph.add("EncodeUserHistory", preference_model=preference, history=history)[0]

    def adapted(embedding: list, strength: float):
        strengths = {f"{part}_strength": 1.0 for part in ("sem", "core", "img")} | {"strength": strength}
        inputs = {"model": sdxl[0], "preference_model": preference, "embedding": embedding}
        return graph.add("ApplyPreferenceAdapter", **inputs, **strengths, start_percent=0.0, end_percent=1.0)[0]

    first, second = map(person, users)
    nodes = {
        "plain": picture(sdxl[0]),
        "strength 0": picture(adapted(first, 0.0)),
        "first user": picture(adapted(first, 1.0)),
        "second user": picture(adapted(second, 1.0)),
    }
    try:
        result = client.run(graph)
    finally:
        for link in links:
            link.unlink()
    return {name: result.tensor(node) for name, node in nodes.items()}


def run(folder: Path, client: Client | None = None) -> dict:
    """Run the full pipeline in a folder, and return the JSON values that the command prints.

    Args:
        folder: Folder for models and training runs.
        client: Client of a running ComfyUI with this pack and the tests' probe nodes. None starts a server.
    """
    from tests.comfyui import Client, running_server

    start = time.monotonic()
    write_models(folder)
    losses = train(folder)
    header = read_checkpoint(folder / "checkpoint.safetensors").header
    PrefDiscSpec.from_json(header["prefdisc"])
    if client:
        pictures = paint(folder, client)
    else:
        with running_server() as server:
            pictures = paint(folder, Client(server))
    plain, zero, first, second = pictures.values()
    return {
        "parts": [part for part in ("sem", "core", "img") if header["adapter"][f"{part}_tokens"]],
        "painted_differs": all(float(np.abs(first - other).max()) > 1e-4 for other in (plain, second)),
        "strength_0_identical": bool(np.array_equal(plain, zero)),
        "losses_fall": all(last < before for before, last in losses.values()),
        "losses": losses,
        "seconds": round(time.monotonic() - start, 1),
    }


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m train.sdxl_path", description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny",), default="tiny", help="size of the models")
    parser.add_argument("--folder", type=Path, help="folder for models and training runs (default: temporary)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(run(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
