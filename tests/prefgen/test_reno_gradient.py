"""The whole chain that ReNO differentiates, UNet, VAE and PrefDisc, against finite differences in float64, and in half
precision; on the smallest models of the real classes."""

import pytest
import torch

from prefgen.reno import RenoConfig, optimize_noise
from prefgen.rewards import PreferenceReward
from tests.prefgen import tiny


def generator(dtype):
    """One step of an SDXL-like UNet and a decoder, as a callable from noise (B, 4, 6, 6) to images (B, 3, 12, 12). It
    takes and gives float32 at least, as a sampler does, whatever it computes in."""
    from diffusers import AutoencoderTiny, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        **{"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4},
        **{"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "cross_attention_dim": 8},
        **{"up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")},
    )
    vae = AutoencoderTiny(
        **{"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)},
        **{"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)},
    )
    text = torch.randn(1, 3, 8).to(dtype)
    for model in (unet, vae):
        model.to(dtype).eval().requires_grad_(False)

    def generate(noise):
        noise_seen = unet(noise.to(dtype), 900, text.expand(len(noise), -1, -1)).sample
        latents = noise - 0.5 * noise_seen.to(noise.dtype)
        return vae.decode(latents.to(dtype)).sample.to(noise.dtype) / 2 + 0.5

    return generate


def judge(dtype):
    prefdisc = tiny.prefdisc().to(dtype).requires_grad_(False)
    if dtype == torch.float64:
        norms_in_full(prefdisc)
    return PreferenceReward(prefdisc, prefdisc.encode(tiny.history(2)), "a cat", objective="margin")


def norms_in_full(model):
    """transformers' RMSNorm computes in float32 whatever it is given, whose rounding would drown small differences."""
    for name, norm in list(model.named_modules()):
        if type(norm).__name__.endswith("RMSNorm"):
            full = torch.nn.RMSNorm(norm.weight.shape, eps=norm.variance_epsilon, dtype=norm.weight.dtype)
            full.load_state_dict(norm.state_dict())
            model.set_submodule(name, full.requires_grad_(False))


def test_the_gradient_is_the_finite_difference_in_float64():
    generate, reward = generator(torch.float64), judge(torch.float64)
    noise = torch.randn(2, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(reward(generate(noise)).sum(), noise)
    for seed in range(3):
        direction = torch.randn(noise.shape, dtype=noise.dtype, generator=torch.Generator().manual_seed(seed))
        step = 1e-5 * direction
        with torch.no_grad():
            rise = reward(generate(noise + step)) - reward(generate(noise - step))
        # The error of central differences is the step's square, 1e-10, beside slopes of 1e-3 and more.
        assert torch.allclose((grad * direction).flatten(1).sum(1), rise / 2e-5, rtol=1e-5, atol=1e-9)
    assert grad.abs().max() > 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_climbs_without_nan(dtype):
    """From the same noise about the same gradient, and a reward that rises."""
    noise = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    config = RenoConfig(iterations=8, learning_rate=2.0, loss_scale=2.0**12 if dtype == torch.float16 else 1.0)
    steps = {}
    for kind in (torch.float32, dtype):
        seen = steps.setdefault(kind, [])
        result = optimize_noise(noise, generator(kind), judge(kind), config, seen.append)
        assert torch.isfinite(result.noise).all()
        assert torch.isfinite(result.curve).all()
        assert result.noise.dtype == torch.float32
    assert (result.rewards > result.curve[0]).all()
    whole, half = (steps[kind][0].gradient_norms for kind in (torch.float32, dtype))
    assert torch.allclose(half, whole, rtol=0.2), "bfloat16 keeps 8 bits, through some twenty layers"
