"""Measures the adapter's cost per denoising step: the plain UNet, our adapter and a peer's alternate in one run.

    make python ARGS="-m benchmarks.adapter"
    make python ARGS="-m benchmarks.adapter --peer ~/ComfyUI/custom_nodes/ComfyUI_IPAdapter_plus"

Two UNets are measured: the pocket UNet, and one of SDXL's size with random weights (bf16, 512 px). A step is one
forward pass of two rows, one for the positive and one for the negative prompt. Both rows attend to the user's tokens.
The time of a whole step varies by as much as the branch costs, so the branch is timed inside the step: `branch_seconds`
and `branch_cpu_seconds` are the time that a step spends in it, and `share` is its processor time divided by that of the
plain step. The limit is 0.02 at SDXL's size with 4 tokens.

The peer is imported from a checkout that you name. It gets the same tokens, rows and blocks, and is measured in the
same way: the time of the whole patch minus that of the text attention in it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn

from tests.comfyui.server import PACK, find_comfyui

OUT = PACK / "out" / "benchmarks" / "adapter.json"
LIMIT = 0.02
ROWS = [0, 1]  # as ComfyUI's `cond_or_uncond` has them: one row of the positive prompt, one of the negative
NAME = "prefgen_pack"
# Of 512 px; the pocket's own size is 96 px.
LATENT = {"pocket": 12, "sdxl": 64}
REPEATS = {"pocket": 30, "sdxl": 5}


class Spent:
    """Wall and processor seconds spent in what `timed` wraps, since `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seconds = self.cpu = 0.0
        self.calls = 0

    def timed(self, work: Callable) -> Callable:
        """`work`, timed."""

        def run(*args, **kwargs):
            wall, cpu = time.perf_counter(), time.process_time()
            result = work(*args, **kwargs)
            self.seconds += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu
            self.calls += 1
            return result

        return run


@dataclass(frozen=True)
class Way:
    """One way to run a step: its attn2 patches, and how to say what of a step went into the branch: (seconds, cpu,
    blocks)."""

    patches: dict
    branch: Callable[[], tuple[float, float, int]]
    clocks: tuple[Spent, ...] = ()


def load_pack(cpu: bool = True) -> Callable[[str], ModuleType]:
    """ComfyUI's modules and the pack's nodes in this process: a function that imports one of the pack's modules. cpu:
    as ComfyUI's --cpu."""
    sys.path.append(str(find_comfyui()))
    import comfy.cli_args

    comfy.cli_args.args.cpu = cpu
    spec = importlib.util.spec_from_file_location(NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
    return lambda name: importlib.import_module(f"{NAME}.{name}")


def load_peer(path: Path) -> ModuleType:
    """The peer's module with its branch, without the rest of its pack."""
    package = ModuleType("peer_pack")
    package.__path__ = [str(path)]
    sys.modules["peer_pack"] = package
    return importlib.import_module("peer_pack.CrossAttentionPatch")


def sdxl_size(shapes: ModuleType):
    """A MODEL of SDXL's size with random weights in bf16: 2.6 billion parameters, 5 GB."""
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.SDXL(shapes.SDXL_UNET.ldm_config())
    config.set_inference_dtype(torch.bfloat16, None)
    device = torch.device("cpu")
    model = config.get_model({}, "", device)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.diffusion_model.parameters():
            bound = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.5
            weight.uniform_(-bound, bound)
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def user_keys_values(blocks: tuple, tokens: int, dtype: torch.dtype) -> dict[str, tuple[Tensor, Tensor]]:
    """Random keys and values of every block."""
    return {
        name: (torch.randn(1, tokens, width, dtype=dtype), torch.randn(1, tokens, width, dtype=dtype))
        for name, width in blocks
    }


def place(name: str) -> tuple[str, int, int]:
    """Return a block's name in the form that ComfyUI's patches use."""
    side, number, index = name.split(".")
    return side, int(number), int(index)


def plain_way(attention: ModuleType, blocks: tuple) -> Way:
    """No branch; text attention through a patch, as the others have it."""
    return Way({place(name): attention.text_attention for name, _ in blocks}, lambda: (0.0, 0.0, 0))


def our_way(attention: ModuleType, blocks: tuple, tokens: int, dtype: torch.dtype) -> Way:
    """Ours on both rows."""
    whole, text = Spent(), Spent()
    inner = text.timed(attention.text_attention)
    patches = {
        place(name): whole.timed(attention.UserAttentionPatch(k, v, previous=inner, negative=(k, v)))
        for name, (k, v) in user_keys_values(blocks, tokens, dtype).items()
    }
    return Way(patches, less(whole, text), (whole, text))


def peers_way(peer: ModuleType, blocks: tuple, tokens: int, context: int, dtype: torch.dtype) -> Way:
    """The peer's on both rows, keys and values projected anew in every block, as published."""
    whole, text = Spent(), Spent()
    peer.optimized_attention = first_of_two(text.timed(peer.optimized_attention), peer.optimized_attention)
    cond, uncond = torch.randn(2, 1, tokens, context, dtype=dtype)
    layers = nn.ModuleDict()
    for number, (_, width) in enumerate(blocks):
        for kind in ("k", "v"):
            layers[f"{2 * number + 1}_to_{kind}_ip"] = nn.Linear(context, width, bias=False, dtype=dtype)
    adapter = SimpleNamespace(ip_layers=SimpleNamespace(to_kvs=layers))
    adapter.get_multigpu_clone = lambda device: adapter
    given = {"ipadapter": adapter, "weight": 1.0, "cond": cond, "uncond": uncond, "sigma_start": 1e9, "sigma_end": 0.0}
    patches = {
        place(name): whole.timed(peer.Attn2Replace(peer.ipadapter_attention, **given, module_key=str(2 * number + 1)))
        for number, (name, _) in enumerate(blocks)
    }
    return Way(patches, less(whole, text), (whole, text))


def less(whole: Spent, text: Spent) -> Callable[[], tuple[float, float, int]]:
    """What a step spent in the whole patches and not in their text attention: (seconds, cpu, blocks)."""
    return lambda: (whole.seconds - text.seconds, whole.cpu - text.cpu, whole.calls)


def first_of_two(first: Callable, second: Callable) -> Callable:
    """`first` and `second` in turns: the peer's patch calls one function for the text and then for its branch."""
    turns = itertools.cycle((first, second))
    return lambda *args, **kwargs: next(turns)(*args, **kwargs)


@torch.no_grad()
def measure(model, ways: dict[str, Way], size: int, repeats: int) -> dict[str, dict[str, float]]:
    """Medians of a step over `repeats` turns, each of every way once; a first turn only warms up."""
    unet = model.model.diffusion_model
    dtype = next(unet.parameters()).dtype
    config = model.model.model_config.unet_config
    torch.manual_seed(1)
    x = torch.randn(len(ROWS), 4, size, size, dtype=dtype)
    context = torch.randn(len(ROWS), 77, config["context_dim"], dtype=dtype)
    y = torch.randn(len(ROWS), config["adm_in_channels"], dtype=dtype)
    times = torch.full((len(ROWS),), 500.0)
    taken: dict[str, list[tuple]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            for clock in way.clocks:
                clock.reset()
            options = {
                "patches_replace": {"attn2": way.patches},
                "cond_or_uncond": ROWS,
                "sigmas": torch.ones(len(ROWS)),
            }
            options["original_shape"] = list(x.shape)
            wall, cpu = time.perf_counter(), time.process_time()
            unet(x, times, context, y=y, transformer_options=options)
            spent = (time.perf_counter() - wall, time.process_time() - cpu, *way.branch())
            if turn:
                taken[name].append(spent)
    columns = ("seconds", "cpu_seconds", "branch_seconds", "branch_cpu_seconds", "blocks")
    return {
        name: {column: median(values) for column, values in zip(columns, zip(*rows, strict=True), strict=True)}
        for name, rows in taken.items()
    }


def rows_of(size: str, found: dict[str, dict[str, float]], tokens: int) -> list[dict]:
    """The rows of one UNet, with each branch's share of the plain step."""
    plain = found["plain"]["cpu_seconds"]
    return [
        {
            "model": size,
            "with": name,
            "tokens": tokens if name != "plain" else 0,
            **{column: round(value, 5) for column, value in values.items()},
            "share": round(values["branch_cpu_seconds"] / plain, 5),
        }
        for name, values in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(LATENT), default=list(LATENT))
    parser.add_argument("--tokens", type=int, default=4, help="user tokens in each row")
    parser.add_argument("--repeats", type=int, help="repetitions (default: 30 pocket, 5 at SDXL's size)")
    parser.add_argument("--peer", type=Path, help="a checkout of ComfyUI_IPAdapter_plus")
    given = parser.parse_args()
    pack = load_pack()
    attention, shapes = pack("nodes.attention.unet"), pack("prefgen.pocket.shapes")
    peer = load_peer(given.peer) if given.peer else None
    rows = []
    print(f"{'model':8}{'with':8}{'seconds':>10}{'cpu':>10}{'branch cpu':>12}{'share':>9}{'blocks':>8}")
    for name in given.models:
        model = pack("nodes.pocket_generator").load_model() if name == "pocket" else sdxl_size(shapes)
        shape = shapes.UNET if name == "pocket" else shapes.SDXL_UNET
        blocks, dtype = shape.attention_blocks(), next(model.model.diffusion_model.parameters()).dtype
        ways = {"plain": plain_way(attention, blocks), "ours": our_way(attention, blocks, given.tokens, dtype)}
        if peer:
            ways["peer"] = peers_way(peer, blocks, given.tokens, shape.context_dim, dtype)
        found = measure(model, ways, LATENT[name], given.repeats or REPEATS[name])
        for row in rows_of(name, found, given.tokens):
            rows.append(row)
            print(
                f"{row['model']:8}{row['with']:8}{row['seconds']:10.4f}{row['cpu_seconds']:10.4f}"
                f"{row['branch_cpu_seconds']:12.5f}{row['share']:9.4f}{row['blocks']:8.0f}",
                flush=True,
            )
    result = {"rows": rows, "limit": LIMIT, "threads": torch.get_num_threads(), "torch": torch.__version__}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
