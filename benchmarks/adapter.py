"""Compares the cost per denoising step of the plain UNet, our adapter and a peer's adapter, which alternate in one run.

    make python ARGS="-m benchmarks.adapter"
    make python ARGS="-m benchmarks.adapter --peer ~/ComfyUI/custom_nodes/ComfyUI_IPAdapter_plus"

Two UNets are measured: the pocket UNet, and one of SDXL's size with random weights (bf16, 512 px). A step is one
forward pass of two rows, one for the positive and one for the negative prompt. Both rows attend to the user's tokens.
The time of a whole step varies by as much as the branch costs, so the branch is timed inside the step: `branch_seconds`
and `branch_cpu_seconds` are the time that a step spends in the branch, and `share` is the branch's processor time
divided by that of the plain step. The limit is 0.02 at SDXL's size with 4 tokens.

The peer is imported from the checkout given by `--peer`. It gets the same tokens, rows and blocks, and is measured in
the same way: the time of the whole patch minus the time of the patch's text attention.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn

from benchmarks.report import write_report
from tests.comfyui.server import PACK, find_comfyui

LIMIT = 0.02
ROWS = [0, 1]  # as in ComfyUI's `cond_or_uncond`: one row for the positive prompt, one for the negative
NAME = "prefgen_pack"
# Width and height of the latents: 96 px for the pocket UNet, 512 px for the UNet of SDXL's size.
LATENT = {"pocket": 12, "sdxl": 64}
REPEATS = {"pocket": 30, "sdxl": 5}


class Stopwatch:
    """Measures the wall and processor seconds that functions wrapped by `timed` have taken since `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seconds = self.cpu = 0.0
        self.calls = 0

    def timed(self, function: Callable) -> Callable:
        """Wrap a function to measure its time."""

        def run(*args, **kwargs):
            wall, cpu = time.perf_counter(), time.process_time()
            result = function(*args, **kwargs)
            self.seconds += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu
            self.calls += 1
            return result

        return run


@dataclass(frozen=True)
class Variant:
    """A variant of the step.

    Attributes:
        patches: The attn2 patches of the step.
        branch_cost: Returns the wall seconds, processor seconds and number of blocks of the branch in the last step.
        stopwatches: Stopwatches to reset before each step.
    """

    patches: dict
    branch_cost: Callable[[], tuple[float, float, int]]
    stopwatches: tuple[Stopwatch, ...] = ()


def load_pack(cpu: bool = True) -> Callable[[str], ModuleType]:
    """Load ComfyUI and the pack into this process, and return a function that imports modules of the pack.

    Args:
        cpu: Whether ComfyUI runs on the CPU, as with its flag --cpu.
    """
    sys.path.append(str(find_comfyui()))
    import comfy.cli_args

    comfy.cli_args.args.cpu = cpu
    spec = importlib.util.spec_from_file_location(NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
    return lambda name: importlib.import_module(f"{NAME}.{name}")


def load_peer(path: Path) -> ModuleType:
    """Import the peer's module that contains its branch, without the rest of its node pack."""
    package = ModuleType("peer_pack")
    package.__path__ = [str(path)]
    sys.modules["peer_pack"] = package
    return importlib.import_module("peer_pack.CrossAttentionPatch")


def sdxl_size(shapes: ModuleType):
    """Build a MODEL of SDXL's size with random weights in bf16: 2.6 billion parameters, 5 GB."""
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
    """Draw random keys and values for every block."""
    return {
        name: (torch.randn(1, tokens, width, dtype=dtype), torch.randn(1, tokens, width, dtype=dtype))
        for name, width in blocks
    }


def patch_key(name: str) -> tuple[str, int, int]:
    """Return a block's name in the form that ComfyUI's patches use."""
    side, number, index = name.split(".")
    return side, int(number), int(index)


def plain_variant(attention: ModuleType, blocks: tuple) -> Variant:
    """Return a step without a branch. Text attention runs through a patch, as in the other variants."""
    return Variant({patch_key(name): attention.text_attention for name, _ in blocks}, lambda: (0.0, 0.0, 0))


def our_variant(attention: ModuleType, blocks: tuple, tokens: int, dtype: torch.dtype) -> Variant:
    """Return a step with our branch on both rows."""
    whole, text = Stopwatch(), Stopwatch()
    inner = text.timed(attention.text_attention)
    patches = {
        patch_key(name): whole.timed(attention.UserAttentionPatch(k, v, previous=inner, negative=(k, v)))
        for name, (k, v) in user_keys_values(blocks, tokens, dtype).items()
    }
    return Variant(patches, difference(whole, text), (whole, text))


def peer_variant(peer: ModuleType, blocks: tuple, tokens: int, context: int, dtype: torch.dtype) -> Variant:
    """Return a step with the peer's branch on both rows. It projects keys and values in every block, as published."""
    whole, text = Stopwatch(), Stopwatch()
    peer.optimized_attention = alternate(text.timed(peer.optimized_attention), peer.optimized_attention)
    cond, uncond = torch.randn(2, 1, tokens, context, dtype=dtype)
    layers = nn.ModuleDict()
    for number, (_, width) in enumerate(blocks):
        for kind in ("k", "v"):
            layers[f"{2 * number + 1}_to_{kind}_ip"] = nn.Linear(context, width, bias=False, dtype=dtype)
    adapter = SimpleNamespace(ip_layers=SimpleNamespace(to_kvs=layers))
    adapter.get_multigpu_clone = lambda device: adapter
    options = {"ipadapter": adapter, "weight": 1.0, "cond": cond, "uncond": uncond}
    options |= {"sigma_start": 1e9, "sigma_end": 0.0}
    patches = {
        patch_key(name): whole.timed(
            peer.Attn2Replace(peer.ipadapter_attention, **options, module_key=str(2 * number + 1))
        )
        for number, (name, _) in enumerate(blocks)
    }
    return Variant(patches, difference(whole, text), (whole, text))


def difference(whole: Stopwatch, text: Stopwatch) -> Callable[[], tuple[float, float, int]]:
    """Return a function that subtracts the time of the text attention from the time of the whole patches."""
    return lambda: (whole.seconds - text.seconds, whole.cpu - text.cpu, whole.calls)


def alternate(first: Callable, second: Callable) -> Callable:
    """Return a function that calls `first` and `second` alternately.

    The peer's patch calls the same function first for the text attention and then for its branch.
    """
    turns = itertools.cycle((first, second))
    return lambda *args, **kwargs: next(turns)(*args, **kwargs)


@torch.no_grad()
def measure(model, variants: dict[str, Variant], size: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return each variant's median step. After a warm-up turn, each of `repeats` turns runs every variant once."""
    unet = model.model.diffusion_model
    dtype = next(unet.parameters()).dtype
    config = model.model.model_config.unet_config
    torch.manual_seed(1)
    x = torch.randn(len(ROWS), 4, size, size, dtype=dtype)
    context = torch.randn(len(ROWS), 77, config["context_dim"], dtype=dtype)
    y = torch.randn(len(ROWS), config["adm_in_channels"], dtype=dtype)
    times = torch.full((len(ROWS),), 500.0)
    durations: dict[str, list[tuple]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, variant in variants.items():
            for stopwatch in variant.stopwatches:
                stopwatch.reset()
            options = {
                "patches_replace": {"attn2": variant.patches},
                "cond_or_uncond": ROWS,
                "sigmas": torch.ones(len(ROWS)),
            }
            options["original_shape"] = list(x.shape)
            wall, cpu = time.perf_counter(), time.process_time()
            unet(x, times, context, y=y, transformer_options=options)
            duration = (time.perf_counter() - wall, time.process_time() - cpu, *variant.branch_cost())
            if turn:
                durations[name].append(duration)
    columns = ("seconds", "cpu_seconds", "branch_seconds", "branch_cpu_seconds", "blocks")
    return {
        name: {column: median(values) for column, values in zip(columns, zip(*rows, strict=True), strict=True)}
        for name, rows in durations.items()
    }


def table_rows(size: str, medians: dict[str, dict[str, float]], tokens: int) -> list[dict]:
    """Return the rows of one UNet, with each branch's share of the plain step."""
    plain = medians["plain"]["cpu_seconds"]
    return [
        {
            "model": size,
            "with": name,
            "tokens": tokens if name != "plain" else 0,
            **{column: round(value, 5) for column, value in values.items()},
            "share": round(values["branch_cpu_seconds"] / plain, 5),
        }
        for name, values in medians.items()
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(LATENT), default=list(LATENT))
    parser.add_argument("--tokens", type=int, default=4, help="number of user tokens in each row")
    parser.add_argument("--repeats", type=int, help="number of timed steps (default: 30 for pocket, 5 for sdxl)")
    parser.add_argument("--peer", type=Path, help="a checkout of ComfyUI_IPAdapter_plus")
    arguments = parser.parse_args()
    pack = load_pack()
    attention, shapes = pack("nodes.attention.unet"), pack("prefgen.pocket.shapes")
    peer = load_peer(arguments.peer) if arguments.peer else None
    rows = []
    print(f"{'model':8}{'with':8}{'seconds':>10}{'cpu':>10}{'branch cpu':>12}{'share':>9}{'blocks':>8}")
    for name in arguments.models:
        model = pack("nodes.pocket_generator").load_model() if name == "pocket" else sdxl_size(shapes)
        shape = shapes.UNET if name == "pocket" else shapes.SDXL_UNET
        blocks, dtype = shape.attention_blocks(), next(model.model.diffusion_model.parameters()).dtype
        variants = {
            "plain": plain_variant(attention, blocks),
            "ours": our_variant(attention, blocks, arguments.tokens, dtype),
        }
        if peer:
            variants["peer"] = peer_variant(peer, blocks, arguments.tokens, shape.context_dim, dtype)
        medians = measure(model, variants, LATENT[name], arguments.repeats or REPEATS[name])
        for row in table_rows(name, medians, arguments.tokens):
            rows.append(row)
            print(
                f"{row['model']:8}{row['with']:8}{row['seconds']:10.4f}{row['cpu_seconds']:10.4f}"
                f"{row['branch_cpu_seconds']:12.5f}{row['share']:9.4f}{row['blocks']:8.0f}",
                flush=True,
            )
    result = {"rows": rows, "limit": LIMIT, "threads": torch.get_num_threads(), "torch": torch.__version__}
    write_report("adapter", result)


if __name__ == "__main__":
    main()
