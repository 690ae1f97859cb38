"""Measures PrefDisc: building the model, encoding a history, scoring candidates, and a training step."""

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
from prefgen.prefdisc.model import CHUNK_SIZE, CPU_CHUNK_SIZE, PrefDisc
from prefgen.prefdisc.packing import Target, pack
from prefgen.prefdisc.prefix import HistoryPrefix
from prefgen.prefdisc.template import ChatTemplate
from train.prefdisc.config import LoraConfig
from train.prefdisc.learner import Learner, trainable_parameters
from train.prefdisc.lora import inject_lora

SIZE = 512
"""Image size in pixels, as in the paper; PrefDisc resizes images to the size in its spec."""


class PrefDiscBenchmark:
    """Measures PrefDisc in one precision.

    Args:
        device: The device.
        shapes: Model and image sizes.
        quantize: "none" or "nf4".
        seconds: Approximate seconds per row. Only a part of longer rows is run.
    """

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
        self.text_bytes, self.image_bytes = text * share, rest * share
        self.template = ChatTemplate(shapes.spec, word_tokenizer())
        self.prefdisc: PrefDisc | None = None

    def needs(self, working: float) -> float:
        """Return the required GiB: the weights, and `working` GiB of activations."""
        return self.size / GIB + working

    def build(self) -> dict:
        """Measure building the model from random values. Loading takes at least as long, because it also reads
        files."""
        name, needs = "build PrefDisc", self.needs(0.2)
        whole = Workload(self._build, 0.0, self.size, description=f"{self.size / GIB:.1f} GiB of weights")
        if needs * GIB > self.device.free():
            return skipped_row(self.device, name, self.precision, whole, "does not fit", needs)
        return measure_row(self.device, name, self.precision, whole, whole, 1, warm=False)

    def _build(self) -> None:
        self.prefdisc = build_prefdisc(self.shapes, self.device.dtype, self.quantize, self.device.torch_device)

    def rows(self) -> Iterator[dict]:
        """Measure encoding a history and scoring candidates."""
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
        # Repeats reduce the noise on a GPU; on a CPU, one run takes a minute.
        repeats, warm = (3, True) if self.device.cuda else (1, False)
        return measure_row(self.device, name, self.precision, work, whole, repeats, warm)

    def working_gib(self) -> float:
        """Estimate the working memory for encoding a batch of images; see `PrefDisc.working_bytes`."""
        vision, text = self.flops.config.vision_config, self.flops.config.text_config
        chunk = min(self.shapes.candidates, CHUNK_SIZE if self.device.cuda else CPU_CHUNK_SIZE)
        widest = max(vision.intermediate_size, text.intermediate_size)
        return 4 * chunk * self.flops.patches * widest * self.device.dtype.itemsize / GIB + 0.5

    def open_tokens(self) -> int:
        """Return the number of tokens in a candidate."""
        return len(self.template.unlabelled_turn(PROMPT))

    def history_tokens(self, pairs: int) -> int:
        """Return the number of tokens in a history, including the preference tokens."""
        return self.shapes.spec.num_tokens + 2 * pairs * len(self.template.labelled_turn(PROMPT, True))

    def _images(self, count: int) -> torch.Tensor:
        return Geometry("", self.prefdisc, SIZE).images(count, seed=2)

    @torch.no_grad()
    def encoded(self, pairs: int) -> HistoryPrefix:
        """Encode a history of random images."""
        return self.prefdisc.encode(Geometry("", self.prefdisc, SIZE).history(pairs))

    def _encode(self, pairs: int) -> Workload:
        tokens = self.history_tokens(pairs)
        flops = self.flops.image_flops(2 * pairs) + self.flops.decoder_flops(tokens)
        moved = self.image_bytes + self.text_bytes
        return Workload(
            lambda: self.encoded(pairs),
            flops,
            moved,
            tokens,
            f"{pairs} {'pair' if pairs == 1 else 'pairs'}, {tokens} tokens",
        )

    def _score(self, count: int, pairs: int = 1) -> Workload:
        """Describe scoring `count` candidates after a cached history."""
        before, tokens = self.history_tokens(pairs), self.open_tokens()
        flops = self.flops.image_flops(count) + self.flops.decoder_flops(tokens, before, count)
        inputs: list = []

        @torch.no_grad()
        def run() -> None:
            self.prefdisc.score(*inputs, PROMPT)

        forwards = -(-count // (CHUNK_SIZE if self.device.cuda else CPU_CHUNK_SIZE))
        moved = forwards * (self.image_bytes + self.text_bytes)
        return Workload(
            run,
            flops,
            moved,
            count * tokens,
            f"{count} {'candidate' if count == 1 else 'candidates'} of {tokens} tokens after {before}",
            lambda: inputs.extend([self.encoded(pairs), self._images(count)]),
        )

    def train(self) -> dict:
        """Time a step of stage 1 (paper index section 2): forward, gradient of LoRA and preference tokens, and AdamW.

        This must be the last row, because it prepares the model for training.
        """
        shapes = self.shapes
        whole = self._train(shapes.pairs, shapes.per_device)
        return self._row("train: one QLoRA step", self._train, shapes.pairs, whole, shapes.working[2])

    def _train(self, pairs: int, rows: int = 1) -> Workload:
        tokens = self.history_tokens(pairs) + 2 * self.open_tokens()
        forward = self.flops.image_flops(2 * pairs + 2) + self.flops.decoder_flops(tokens) + self.flops.logit_flops(2)
        # The gradient of the activations costs as much as the forward pass.
        # Among the weights, only the small LoRA needs gradients.
        flops, moved = 2 * rows * forward, 2 * rows * (self.image_bytes + self.text_bytes)
        prepared: list[Callable[[], None]] = []
        return Workload(
            lambda: prepared[0](),
            flops,
            moved,
            rows * tokens,
            f"{rows} of {2 * pairs + 2} images, {tokens} tokens each",
            lambda: prepared.append(training_step(self.prefdisc, pairs, rows)),
        )


def training_step(prefdisc: PrefDisc, pairs: int, rows: int) -> Callable[[], None]:
    """Return a training step on random images, as train.prefdisc runs it with gradient checkpointing."""
    recipe = LoraConfig(vision=True)
    inject_lora(prefdisc.base, LoraSpec(recipe.r, recipe.alpha, recipe.targets), recipe.dropout, recipe.init)
    prefdisc.tokens.data = prefdisc.tokens.data.float()
    prefdisc.tokens.requires_grad_(True)
    prefdisc.base.gradient_checkpointing_enable({"use_reentrant": False})
    prefdisc.train()
    learner = Learner(prefdisc, split_long=False)
    optimiser = torch.optim.AdamW(trainable_parameters(prefdisc).values(), lr=1e-5, weight_decay=1e-2)
    packed = pack(prefdisc.template, [[PROMPT] * pairs] * rows, [[Target(pairs, PROMPT)]] * rows)
    count = 2 * pairs + 2
    images = Geometry("", prefdisc, SIZE).images(count * rows, seed=3).to(prefdisc.device)

    def step() -> None:
        # LoRA weights are float32; their products are computed in bf16.
        with torch.autocast(prefdisc.device.type, prefdisc.dtype):
            logits = learner(packed, (count,) * rows, images=images)
            loss = preference_loss(logits[:, 0], logits[:, 1], prefdisc.template.label_ids)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step
