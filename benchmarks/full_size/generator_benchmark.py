"""Measures SDXL with and without the adapter, and an iteration of ReNO, with ComfyUI's sampling code."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.full_size.device import GIB, Device
from benchmarks.full_size.flops import count_flops
from benchmarks.full_size.prefdisc_benchmark import PrefDiscBenchmark
from benchmarks.full_size.random_models import Pack, build_unet, build_vae, meta_unet, meta_vae
from benchmarks.full_size.shapes import Shapes
from benchmarks.full_size.timing import Workload, measure_row, skipped_row, units_within
from benchmarks.geometries import PROMPT
from prefgen.rewards import PreferenceReward

TEXT_TOKENS = 77
USER_TOKENS = 16
"""Number of user tokens. The number is our choice; the papers' adapters have 4 to 16."""


class GeneratorBenchmark:
    """Measures SDXL's UNet on one device.

    Args:
        device: The device.
        shapes: Model and image sizes.
        pack: Function that imports modules of the pack.
        seconds: Approximate seconds per row. Only a part of longer rows is run.
    """

    def __init__(self, device: Device, shapes: Shapes, pack: Pack, seconds: float) -> None:
        self.device, self.shapes, self.pack, self.seconds = device, shapes, pack, seconds
        self.precision = str(device.dtype).removeprefix("torch.")
        self.meta = meta_unet(shapes.unet, device.dtype)
        self.size = sum(parameter.nbytes for parameter in self.meta.diffusion_model.parameters())
        self.model = None

    def fits(self, working: float) -> bool:
        """Return whether the UNet, if it is not loaded yet, and `working` GiB fit into free memory."""
        return (0 if self.model is not None else self.size) + working * GIB <= self.device.free()

    def needs(self, working: float) -> float:
        """Return the required GiB: the UNet, and `working` GiB of activations."""
        return self.size / GIB + working

    def step_flops(self, pixels: int, rows: int, tokens: int = 0) -> float:
        """Count the FLOPs of one UNet evaluation for `rows` samples, with `tokens` user tokens in the adapter."""
        side, device, dtype, shape = pixels // 8, torch.device("meta"), self.device.dtype, self.shapes.unet
        x = torch.zeros(rows, 4, side, side, dtype=dtype, device=device)
        context = torch.zeros(rows, TEXT_TOKENS, shape.context_dim, dtype=dtype, device=device)
        y = torch.zeros(rows, shape.condition_dim, dtype=dtype, device=device)
        times = torch.zeros(rows, device=device)
        unet_flops = count_flops(lambda: self.meta.diffusion_model(x, times, context, y=y))
        return unet_flops + tokens * self._branch_flops(side)

    def _branch_flops(self, side: int) -> float:
        """Count the FLOPs of the adapter for one user token and one sample: two products in every block."""
        levels = dict(zip(self.shapes.unet.channels, range(len(self.shapes.unet.channels)), strict=False))
        top = max(levels.values())
        return sum(
            4 * (side // 2 ** (top if name.startswith("middle") else levels[width])) ** 2 * width
            for name, width in self.shapes.unet.attention_blocks()
        )

    def rows(self) -> list[dict]:
        """Measure denoising without and with the adapter."""
        return [self._denoising(False), self._denoising(True)]

    def _denoising(self, adapted: bool) -> dict:
        shapes, working = self.shapes, self.shapes.working[0]
        name = f"SDXL {shapes.width} px, {shapes.steps} steps" + (", with the adapter" if adapted else "")
        # One sample for each prompt, positive and negative; only the positive one has user tokens.
        flops = self.step_flops(shapes.width, 2, USER_TOKENS if adapted else 0)

        def work(steps: int) -> Workload:
            return Workload(
                lambda: self._generate(steps, adapted),
                steps * flops,
                steps * self.size,
                description=f"{steps} steps" if steps > 1 else "1 step",
            )

        whole = work(shapes.steps)
        if not self.fits(working):
            return skipped_row(self.device, name, self.precision, whole, "does not fit", self.needs(working))
        count = units_within(self.device, work(1), shapes.steps, self.seconds)
        if not count:
            return skipped_row(self.device, name, self.precision, whole, "takes too long here", None)
        self._ensure()
        repeats, warm = (2, True) if self.device.cuda else (1, False)
        return measure_row(
            self.device, name, self.precision, whole if count == shapes.steps else work(count), whole, repeats, warm
        )

    def _ensure(self) -> None:
        if self.model is None:
            self.model = build_unet(self.shapes.unet, self.device.dtype, self.device.torch_device)

    def _conditioning(self) -> list:
        shape = self.shapes.unet
        return [[torch.randn(1, TEXT_TOKENS, shape.context_dim), {"pooled_output": torch.randn(1, shape.pooled_dim)}]]

    @torch.inference_mode()
    def _generate(self, steps: int, adapted: bool) -> None:
        import comfy.sample

        model = self._with_adapter() if adapted else self.model
        side = self.shapes.width // 8
        latent = torch.zeros(1, 4, side, side)
        positive, negative = self._conditioning(), self._conditioning()
        noise = comfy.sample.prepare_noise(latent, 0)
        comfy.sample.sample(
            model, noise, steps, 7.0, "euler", "normal", positive, negative, latent, disable_pbar=True, seed=0
        )

    def _with_adapter(self):
        """Return the MODEL with the node's patch and random user keys and values."""
        with torch.inference_mode(False):
            keys_values = {
                name: tuple(
                    torch.randn(2, 1, USER_TOKENS, width, dtype=self.device.dtype, device=self.device.torch_device)
                )
                for name, width in self.shapes.unet.attention_blocks()
            }
        return self.pack("nodes.attention.unet").patch_user_attention(self.model, keys_values)

    def reno(self, prefdisc_benchmark: PrefDiscBenchmark) -> dict:
        """Measure one iteration of ReNO: one UNet step, the decoder, the score, and the backward pass."""
        shapes, working = self.shapes, self.shapes.working[1]
        name, precision = (
            f"ReNO {shapes.turbo} px, one iteration",
            f"{self.precision}, PrefDisc {prefdisc_benchmark.precision}",
        )
        decoding = self._decoding_flops()
        history = prefdisc_benchmark.history_tokens(shapes.pairs)
        scoring = prefdisc_benchmark.flops.image_flops(1) + prefdisc_benchmark.flops.decoder_flops(
            prefdisc_benchmark.open_tokens(), history
        )
        # The gradient of the activations costs as much as the forward pass.
        flops = 2 * (self.step_flops(shapes.turbo, 1) + decoding + scoring)
        moved = 2 * (self.size + prefdisc_benchmark.image_bytes + prefdisc_benchmark.text_bytes)
        pairs = shapes.pairs if self.device.cuda else 1
        prepared: list[Callable[[], None]] = []
        whole = Workload(
            lambda: prepared[0](),
            flops,
            moved,
            description=f"1 iteration, a history of {pairs} pairs",
            prepare=lambda: prepared.append(self._iteration(prefdisc_benchmark, pairs)),
        )
        if prefdisc_benchmark.prefdisc is None or not self.fits(working):
            needs = self.needs(working) + prefdisc_benchmark.needs(0)
            return skipped_row(self.device, name, precision, whole, "does not fit", needs)
        if not units_within(self.device, whole, 1, self.seconds):
            return skipped_row(self.device, name, precision, whole, "takes too long here", None)
        self._ensure()
        repeats, warm = (3, True) if self.device.cuda else (1, False)
        return measure_row(self.device, name, precision, whole, whole, repeats, warm)

    def _decoding_flops(self) -> float:
        side = self.shapes.turbo // 8
        vae = meta_vae(self.shapes, self.device.dtype)
        return count_flops(lambda: vae.decode(torch.zeros(1, 4, side, side, dtype=self.device.dtype, device="meta")))

    def _iteration(self, prefdisc_benchmark: PrefDiscBenchmark, pairs: int) -> Callable[[], None]:
        import comfy.samplers

        few_step, decoder = self.pack("nodes.sampling.few_step"), self.pack("nodes.sampling.decoder")
        enable_gradients = self.pack("nodes.sampling.gradients").enable_gradients
        vae = build_vae(self.shapes, self.device.dtype, self.device.torch_device)
        prefix = prefdisc_benchmark.encoded(pairs)
        side = self.shapes.turbo // 8
        sigmas = comfy.samplers.calculate_sigmas(self.model.get_model_object("model_sampling"), "simple", 1)
        sampling = few_step.FewStepSampling(
            self.model,
            self._conditioning(),
            None,
            {"samples": torch.zeros(1, 4, side, side)},
            sigmas,
            checkpointing=True,
        )
        reward = PreferenceReward(prefdisc_benchmark.prefdisc, prefix, PROMPT)

        def gradient_of_score(noise: Tensor, render: Callable[[Tensor], Tensor]) -> Tensor:
            decode = decoder.load_decoder(vae, checkpointing=True)
            noise = noise.detach().clone().requires_grad_()
            return torch.autograd.grad(reward(decode(render(noise))).sum(), noise)[0]

        def run_iteration() -> None:
            with enable_gradients():
                sampling.differentiate(sampling.seed_noise().clone(), gradient_of_score)

        return run_iteration
