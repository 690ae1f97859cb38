"""One training step of PrefDisc: the history read once for both targets, against once for each; in turns, in one run.

    make python ARGS="-m benchmarks.training --repeats 5"

A step is forward, loss, backward and AdamW, of stage 1's LoRA, on the same pairs and weights. The peer is what the
published code does: a whole sequence for the liked target and another for the disliked one, under the plain causal
mask, which costs less a token than a packed mask. Two geometries, the pocket one and one of Idefics2's real token
counts, each with images encoded in the step and with features kept from before.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.geometries import GEOMETRIES, PROMPT
from prefgen.losses import preference_loss
from prefgen.prefdisc.config import LoraSpec
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.packing import Target, pack
from train.prefdisc.config import LoraConfig
from train.prefdisc.learner import Learner, trainable
from train.prefdisc.lora import lay_lora

OUT = Path(__file__).resolve().parents[1] / "out" / "benchmarks" / "training.json"
HISTORY = 8  # pairs
BATCHES = {"pocket": 16, "idefics2-tokens": 1}  # pairs in a step
PROMPTS = {"pocket": "a lighthouse", "idefics2-tokens": PROMPT}
BAR = 1.6


class Once:
    """Ours: one packed forward, the history's tokens once."""

    def __init__(self, prefdisc: PrefDisc, batch: int, prompt: str) -> None:
        self.learner = Learner(prefdisc)
        self.packed = pack(prefdisc.turns, [[prompt] * HISTORY] * batch, [[Target(HISTORY, prompt)]] * batch)
        self.counts = (2 * HISTORY + 2,) * batch

    def __call__(self, seen: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logits = self.learner(self.packed, self.counts, **{kind: x.flatten(0, 1) for kind, x in seen.items()})
        return logits[:, 0], logits[:, 1]


class Twice:
    """As published: the whole sequence for the liked target, and again for the disliked one."""

    def __init__(self, prefdisc: PrefDisc, batch: int, prompt: str) -> None:
        self.prefdisc, turns = prefdisc, prefdisc.turns
        rated = [*turns.rated(prompt, True), *turns.rated(prompt, False)]
        self.ids = torch.tensor([[*turns.opening, *rated * HISTORY, *turns.open(prompt)]]).repeat(batch, 1)

    def __call__(self, seen: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return self._forward(seen, 0), self._forward(seen, 1)

    def _forward(self, seen: dict[str, Tensor], target: int) -> Tensor:
        ((kind, values),) = seen.items()
        values = torch.cat([values[:, : 2 * HISTORY], values[:, 2 * HISTORY + target, None]], dim=1).flatten(0, 1)
        features = self.prefdisc.features(values) if kind == "images" else values
        base = self.prefdisc.base
        words = base.get_input_embeddings()(self.ids)
        words = words.masked_scatter((self.ids == self.prefdisc.turns.image_id)[..., None], features)
        tokens = self.prefdisc.tokens[None].expand(len(words), -1, -1)
        hidden = base.model.text_model(inputs_embeds=torch.cat([tokens, words], 1), use_cache=False).last_hidden_state
        # At the last position only: all positions' logits would cost the published code much more yet.
        return base.lm_head(hidden[:, -1])


def measure(name: str, kept: bool, repeats: int) -> dict:
    """Medians of `repeats` steps of each way, in turns, after one of each that is not timed. processor_ratio: of the
    processor time used, which other work on the machine does not change."""
    geometry, batch = GEOMETRIES[name](), BATCHES[name]
    prefdisc, lora = geometry.prefdisc, LoraConfig()
    torch.manual_seed(0)
    lay_lora(prefdisc.base, LoraSpec(lora.r, lora.alpha, lora.targets), lora.dropout)
    prefdisc.tokens.requires_grad_(True)
    shown = torch.rand(batch, 2 * HISTORY + 2, 3, geometry.size, geometry.size)
    seen = {"images": shown}
    if kept:
        with torch.no_grad():
            seen = {"features": torch.stack([prefdisc.features(images) for images in shown])}
    ways = {way.__name__.lower(): way(prefdisc, batch, PROMPTS[name]) for way in (Once, Twice)}
    labels, found = prefdisc.turns.label_ids, {}
    optimiser = torch.optim.AdamW(trainable(prefdisc).values(), lr=1e-5, weight_decay=1e-2)
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in ways}
    for turn in range(repeats + 1):
        prefdisc.train(turn > 0)
        for kind in sorted(ways, reverse=turn % 2 == 1):  # who goes first changes every turn
            began = time.perf_counter(), time.process_time()
            logits = ways[kind](seen)
            preference_loss(*logits, labels).backward()
            if turn:
                optimiser.step()
                taken[kind].append((time.perf_counter() - began[0], time.process_time() - began[1]))
            else:
                found[kind] = torch.cat(logits).detach()  # without dropout, and of the same weights
            optimiser.zero_grad()
    (once, once_used), (twice, twice_used) = ([*map(median, zip(*taken[kind], strict=True))] for kind in ways)
    return {
        "geometry": name,
        "images": "kept features" if kept else "encoded",
        "pairs": batch,
        "tokens": ways["once"].packed.mask.shape[-1],
        "once_samples_per_s": round(batch / once, 3),
        "twice_samples_per_s": round(batch / twice, 3),
        "ratio": round(twice / once, 3),
        "processor_ratio": round(twice_used / once_used, 3),
        "max_abs_diff": (found["once"] - found["twice"]).abs().max().item(),
        "repeats": repeats,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--geometries", nargs="+", choices=list(BATCHES), default=list(BATCHES))
    parser.add_argument("--images", nargs="+", choices=["encoded", "kept"], default=["encoded", "kept"])
    given = parser.parse_args()
    rows = []
    print(f"{'geometry':18}{'images':16}{'tokens':>8}{'once, 1/s':>12}{'twice, 1/s':>12}{'ratio':>8}")
    for name in given.geometries:
        for images in given.images:
            rows.append(row := measure(name, images == "kept", given.repeats))
            rates = f"{row['once_samples_per_s']:12.2f}{row['twice_samples_per_s']:12.2f}{row['ratio']:8.2f}"
            print(f"{name:18}{row['images']:16}{row['tokens']:8}{rates}", flush=True)
    result = {"rows": rows, "ratio": min(row["ratio"] for row in rows), "bar": BAR}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
