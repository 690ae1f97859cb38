"""The rows of PrefDisc: built, a history encoded, candidates scored, a training step of the paper's recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from benchmarks.full_size.device import GIB, Device
from benchmarks.full_size.flops import PrefDiscFlops
from benchmarks.full_size.random_models import build_prefdisc, meta_base
from benchmarks.full_size.shapes import Shapes
from benchmarks.full_size.timing import Workload, measure_row, skipped_row, units_within
from benchmarks.geometries import PROMPT, Geometry, word_tokenizer
from prefgen.losses import preference_loss
from prefgen.prefdisc.base.shards import bytes_needed
from prefgen.prefdisc.config import LoraSpec
from prefgen.prefdisc.model import CHUNK, CPU_CHUNK, PrefDisc
from prefgen.prefdisc.packing import Target, pack
from prefgen.prefdisc.prefix import HistoryPrefix
from prefgen.prefdisc.template import Turns
from train.prefdisc.config import LoraConfig
from train.prefdisc.learner import Learner, trainable
from train.prefdisc.lora import lay_lora

SIZE = 512
"""Pixels of images, as the paper has them; PrefDisc reads them at its spec's."""


class PrefDiscBenchmark:
    """The rows of one precision."""

    def __init__(self, device: Device, shapes: Shapes, quantize: str, seconds: float) -> None:
        self.device, self.shapes, self.seconds = device, shapes, seconds
        self.quantize = quantize
        self.precision = "nf4" if quantize == "nf4" else str(device.dtype).removeprefix("torch.")
        base = meta_base(shapes, device.dtype)
        self.flops = PrefDiscFlops(base, shapes.spec)
        self.size = bytes_needed({n: tuple(p.shape) for n, p in base.named_parameters()}, device.dtype, quantize)
        text = sum(p.numel() for p in base.model.text_model.layers.parameters())
        rest = sum(p.numel() for p in (*base.model.vision_model.parameters(), *base.model.connector.parameters()))
        share = self.size / sum(p.numel() for p in base.parameters())
        self.text_bytes, self.seen_bytes = text * share, rest * share
        self.turns = Turns(shapes.spec, word_tokenizer())
        self.prefdisc: PrefDisc | None = None

    def needs(self, working: float) -> float:
        """GiB of the weights and of what the work takes beside them."""
        return self.size / GIB + working

    def build(self) -> dict:
        """Built on the device from random values: no file is read, so this bounds a loading from below."""
        name, needs = "build PrefDisc", self.needs(0.2)
        whole = Workload(self._build, 0.0, self.size, description=f"{self.size / GIB:.1f} GiB of weights")
        if needs * GIB > self.device.free():
            return skipped_row(self.device, name, self.precision, whole, "does not fit", needs)
        return measure_row(self.device, name, self.precision, whole, whole, 1, warm=False)

    def _build(self) -> None:
        self.prefdisc = build_prefdisc(self.shapes, self.device.dtype, self.quantize, self.device.torch_device)

    def rows(self) -> Iterator[dict]:
        """Encode and score."""
        pairs, candidates, working = self.shapes.pairs, self.shapes.candidates, self.working_gib()
        yield self._row(f"encode a history of {pairs} pairs", self._encode, pairs, self._encode(pairs), working)
        whole = self._score(candidates, pairs)
        yield self._row(f"score {candidates} candidates", self._score, candidates, whole, working)

    def _row(self, name: str, make: Callable[[int], Workload], most: int, whole: Workload, working: float) -> dict:
        if self.prefdisc is None or working * GIB > self.device.free():
            return skipped_row(self.device, name, self.precision, whole, "does not fit", self.needs(working))
        count = units_within(self.device, make(1), most, self.seconds)
        if not count:
            return skipped_row(self.device, name, self.precision, whole, "takes too long here", None)
        work = whole if count == most else make(count)
        # A third run is so much less noise on a GPU; on a CPU one takes a minute.
        repeats, warm = (3, True) if self.device.cuda else (1, False)
        return measure_row(self.device, name, self.precision, work, whole, repeats, warm)

    def working_gib(self) -> float:
        """What reading a forward's images takes: see `PrefDisc.working_bytes`."""
        vision, text = self.flops.config.vision_config, self.flops.config.text_config
        chunk = min(self.shapes.candidates, CHUNK if self.device.cuda else CPU_CHUNK)
        widest = max(vision.intermediate_size, text.intermediate_size)
        return 4 * chunk * self.flops.patches * widest * self.device.dtype.itemsize / GIB + 0.5

    def open_tokens(self) -> int:
        """Tokens of a candidate."""
        return len(self.turns.open(PROMPT))

    def history_tokens(self, pairs: int) -> int:
        """Tokens of a history, with P_v."""
        return self.shapes.spec.num_tokens + 2 * pairs * len(self.turns.rated(PROMPT, True))

    def _images(self, count: int) -> torch.Tensor:
        return Geometry("", self.prefdisc, SIZE).images(count, seed=2)

    @torch.no_grad()
    def encoded(self, pairs: int) -> HistoryPrefix:
        """A history of random images, read."""
        return self.prefdisc.encode(Geometry("", self.prefdisc, SIZE).history(pairs))

    def _encode(self, pairs: int) -> Workload:
        tokens = self.history_tokens(pairs)
        flops = self.flops.image_flops(2 * pairs) + self.flops.decoder_flops(tokens)
        moved = self.seen_bytes + self.text_bytes
        return Workload(
            lambda: self.encoded(pairs),
            flops,
            moved,
            tokens,
            f"{pairs} {'pair' if pairs == 1 else 'pairs'}, {tokens} tokens",
        )

    def _score(self, count: int, pairs: int = 1) -> Workload:
        """Against a history that was read before; a short one serves where not all candidates can be scored either."""
        before, tokens = self.history_tokens(pairs), self.open_tokens()
        flops = self.flops.image_flops(count) + self.flops.decoder_flops(tokens, before, count)
        kept: list = []

        @torch.no_grad()
        def run() -> None:
            self.prefdisc.score(*kept, PROMPT)

        forwards = -(-count // (CHUNK if self.device.cuda else CPU_CHUNK))
        moved = forwards * (self.seen_bytes + self.text_bytes)
        return Workload(
            run,
            flops,
            moved,
            count * tokens,
            f"{count} {'candidate' if count == 1 else 'candidates'} of {tokens} tokens after {before}",
            lambda: kept.extend([self.encoded(pairs), self._images(count)]),
        )

    def train(self) -> dict:
        """A step of stage 1 (method.md section 2): the forward of so many pairs of targets with their histories, the
        gradient of the LoRA and of P_v, and AdamW. The last row: the model is a training's afterwards."""
        shapes = self.shapes
        whole = self._train(shapes.pairs, shapes.per_device)
        return self._row("train: one QLoRA step", self._train, shapes.pairs, whole, shapes.working[2])

    def _train(self, pairs: int, rows: int = 1) -> Workload:
        tokens = self.history_tokens(pairs) + 2 * self.open_tokens()
        forward = self.flops.image_flops(2 * pairs + 2) + self.flops.decoder_flops(tokens) + self.flops.logit_flops(2)
        # As much again for the gradient of the activations; of the weights it is needed for the small LoRA alone.
        flops, moved = 2 * rows * forward, 2 * rows * (self.seen_bytes + self.text_bytes)
        ready: list[Callable[[], None]] = []
        return Workload(
            lambda: ready[0](),
            flops,
            moved,
            rows * tokens,
            f"{rows} of {2 * pairs + 2} images, {tokens} tokens each",
            lambda: ready.append(training_step(self.prefdisc, pairs, rows)),
        )


def training_step(prefdisc: PrefDisc, pairs: int, rows: int) -> Callable[[], None]:
    """The recipe's step on random images, as train.prefdisc's trainer runs it with recomputed activations."""
    recipe = LoraConfig(vision=True)
    lay_lora(prefdisc.base, LoraSpec(recipe.r, recipe.alpha, recipe.targets), recipe.dropout, recipe.init)
    prefdisc.tokens.data = prefdisc.tokens.data.float()
    prefdisc.tokens.requires_grad_(True)
    prefdisc.base.gradient_checkpointing_enable({"use_reentrant": False})
    prefdisc.train()
    learner = Learner(prefdisc, apart=False)
    optimiser = torch.optim.AdamW(trainable(prefdisc).values(), lr=1e-5, weight_decay=1e-2)
    packed = pack(prefdisc.turns, [[PROMPT] * pairs] * rows, [[Target(pairs, PROMPT)]] * rows)
    count = 2 * pairs + 2
    images = Geometry("", prefdisc, SIZE).images(count * rows, seed=3).to(prefdisc.device)

    def step() -> None:
        # The recipe's bf16: the LoRA's weights are float32, its products are not.
        with torch.autocast(prefdisc.device.type, prefdisc.dtype):
            logits = learner(packed, (count,) * rows, images=images)
            loss = preference_loss(logits[:, 0], logits[:, 1], prefdisc.turns.label_ids)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step
