"""Times a training step of PrefDisc with one packed pass for both targets, compared with one pass for each target.

    make python ARGS="-m benchmarks.training --repeats 5"

A step consists of the forward pass, the loss, the backward pass and the AdamW update of stage 1's LoRA. Both procedures
use the same pairs and weights. The published code processes a whole sequence for the liked target and a second one for
the disliked target, with a plain causal mask, which is cheaper per token than a packed mask. There are two geometries,
the pocket model and Idefics2's real token counts. Each is measured with images encoded in the step and with cached
features. The procedures alternate in one run.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from torch import Tensor

from benchmarks.geometries import GEOMETRIES, PROMPT
from benchmarks.report import write_report
from prefgen.losses import preference_loss
from prefgen.prefdisc.config import LoraSpec
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.packing import Target, pack
from train.prefdisc.config import LoraConfig
from train.prefdisc.learner import Learner, trainable_parameters
from train.prefdisc.lora import inject_lora

HISTORY_PAIRS = 8
BATCHES = {"pocket": 16, "idefics2-tokens": 1}  # number of pairs per step
PROMPTS = {"pocket": "a lighthouse", "idefics2-tokens": PROMPT}
MIN_RATIO = 1.6
"""Target for the samples per second, relative to the published procedure."""


class PackedPass:
    """Our procedure: one packed forward pass, which processes the history once."""

    def __init__(self, prefdisc: PrefDisc, batch: int, prompt: str) -> None:
        self.learner = Learner(prefdisc)
        self.packed = pack(
            prefdisc.template, [[prompt] * HISTORY_PAIRS] * batch, [[Target(HISTORY_PAIRS, prompt)]] * batch
        )
        self.counts = (2 * HISTORY_PAIRS + 2,) * batch

    def __call__(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logits = self.learner(self.packed, self.counts, **{kind: x.flatten(0, 1) for kind, x in inputs.items()})
        return logits[:, 0], logits[:, 1]


class TwoPasses:
    """The published procedure, which processes the whole sequence once for each of the two targets."""

    def __init__(self, prefdisc: PrefDisc, batch: int, prompt: str) -> None:
        self.prefdisc, template = prefdisc, prefdisc.template
        rated = [*template.labelled_turn(prompt, True), *template.labelled_turn(prompt, False)]
        self.ids = torch.tensor(
            [[*template.opening_ids, *rated * HISTORY_PAIRS, *template.unlabelled_turn(prompt)]]
        ).repeat(batch, 1)

    def __call__(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return self._forward(inputs, 0), self._forward(inputs, 1)

    def _forward(self, inputs: dict[str, Tensor], target: int) -> Tensor:
        ((kind, values),) = inputs.items()
        values = torch.cat(
            [values[:, : 2 * HISTORY_PAIRS], values[:, 2 * HISTORY_PAIRS + target, None]], dim=1
        ).flatten(0, 1)
        features = self.prefdisc.features(values) if kind == "images" else values
        base = self.prefdisc.base
        embedded = base.get_input_embeddings()(self.ids)
        embedded = embedded.masked_scatter((self.ids == self.prefdisc.template.image_id)[..., None], features)
        tokens = self.prefdisc.tokens[None].expand(len(embedded), -1, -1)
        hidden = base.model.text_model(
            inputs_embeds=torch.cat([tokens, embedded], 1), use_cache=False
        ).last_hidden_state
        # Logits at the last position only; the published code computes all positions, which is much slower.
        return base.lm_head(hidden[:, -1])


def measure(name: str, cached: bool, repeats: int) -> dict:
    """Measure one row: medians over `repeats` alternating steps, after one untimed step of each procedure.

    processor_ratio is the ratio of processor times, which other processes do not affect.
    """
    geometry, batch = GEOMETRIES[name](), BATCHES[name]
    prefdisc, lora = geometry.prefdisc, LoraConfig()
    torch.manual_seed(0)
    inject_lora(prefdisc.base, LoraSpec(lora.r, lora.alpha, lora.targets), lora.dropout)
    prefdisc.tokens.requires_grad_(True)
    images = torch.rand(batch, 2 * HISTORY_PAIRS + 2, 3, geometry.size, geometry.size)
    inputs = {"images": images}
    if cached:
        with torch.no_grad():
            inputs = {"features": torch.stack([prefdisc.features(sample) for sample in images])}
    procedures = {
        "once": PackedPass(prefdisc, batch, PROMPTS[name]),
        "twice": TwoPasses(prefdisc, batch, PROMPTS[name]),
    }
    labels, logits_by_kind = prefdisc.template.label_ids, {}
    optimiser = torch.optim.AdamW(trainable_parameters(prefdisc).values(), lr=1e-5, weight_decay=1e-2)
    durations: dict[str, list[tuple[float, float]]] = {kind: [] for kind in procedures}
    for turn in range(repeats + 1):
        prefdisc.train(turn > 0)
        for kind in sorted(procedures, reverse=turn % 2 == 1):  # alternate the order
            start = time.perf_counter(), time.process_time()
            logits = procedures[kind](inputs)
            preference_loss(*logits, labels).backward()
            if turn:
                optimiser.step()
                durations[kind].append((time.perf_counter() - start[0], time.process_time() - start[1]))
            else:
                logits_by_kind[kind] = torch.cat(logits).detach()  # without dropout, and with the same weights
            optimiser.zero_grad()
    (once, once_used), (twice, twice_used) = ([*map(median, zip(*durations[kind], strict=True))] for kind in procedures)
    return {
        "geometry": name,
        "images": "kept features" if cached else "encoded",
        "pairs": batch,
        "tokens": procedures["once"].packed.mask.shape[-1],
        "once_samples_per_s": round(batch / once, 3),
        "twice_samples_per_s": round(batch / twice, 3),
        "ratio": round(twice / once, 3),
        "processor_ratio": round(twice_used / once_used, 3),
        "max_abs_diff": (logits_by_kind["once"] - logits_by_kind["twice"]).abs().max().item(),
        "repeats": repeats,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--geometries", nargs="+", choices=list(BATCHES), default=list(BATCHES))
    parser.add_argument("--images", nargs="+", choices=["encoded", "kept"], default=["encoded", "kept"])
    arguments = parser.parse_args()
    rows = []
    print(f"{'geometry':18}{'images':16}{'tokens':>8}{'once, 1/s':>12}{'twice, 1/s':>12}{'ratio':>8}")
    for name in arguments.geometries:
        for images in arguments.images:
            rows.append(row := measure(name, images == "kept", arguments.repeats))
            rates = f"{row['once_samples_per_s']:12.2f}{row['twice_samples_per_s']:12.2f}{row['ratio']:8.2f}"
            print(f"{name:18}{row['images']:16}{row['tokens']:8}{rates}", flush=True)
    result = {"rows": rows, "ratio": min(row["ratio"] for row in rows), "bar": MIN_RATIO}
    write_report("training", result)


if __name__ == "__main__":
    main()
