"""The user's branch in a UNet that core compiles, in this process and without a code generator."""

import pytest
import torch

from tests.prefgen.test_adapter import make_adapter, users


@pytest.fixture
def painted(pocket, pack):
    import comfy.sample
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from comfy_extras.nodes_torch_compile import skip_torch_compile_dict

    def paint(model, compiled):
        if compiled:
            model = model.clone()
            options = {"guard_filter_fn": skip_torch_compile_dict}
            set_torch_compile_wrapper(model=model, backend="eager", options=options)
        clip = pocket.load_clip()
        prompt, empty = (clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a cactus", ""))
        latent = torch.zeros(1, 4, 12, 12)
        noise = comfy.sample.prepare_noise(latent, 1)
        return comfy.sample.sample(
            model, noise, 1, 1.0, "euler", "simple", prompt, empty, latent, disable_pbar=True, seed=1
        )

    with torch.inference_mode():
        yield paint
    torch._dynamo.reset()


def test_a_compiled_unet_that_painted_plainly_paints_for_the_person(pocket, pack, painted):
    """PyTorch keeps the plain UNet's code, whose guards on patches core drops."""
    model = pocket.load_model()
    adapter = make_adapter()
    patched = pack("nodes.attention.unet").patch_user_attention(model, adapter.for_users(users(1)), 0.0, 0.9)
    plain, expected = painted(model, compiled=True), painted(patched, compiled=False)
    assert (expected - plain).abs().max() > 1e-3
    torch.testing.assert_close(painted(patched, compiled=True), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(painted(model, compiled=True), plain)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"mode": "max-autotune-no-cudagraphs"}, {"options": {"epilogue_fusion": True}}]
)
def test_the_guarded_backend_generates_code_as_core_asks(pack, settings):
    compiled_models = pack("nodes.attention.compiled_models")
    given = {"backend": "inductor", "mode": None, "options": {"guard_filter_fn": None}} | settings
    backend = compiled_models.GuardedBackend.from_settings(given)
    assert backend == compiled_models.GuardedBackend.from_settings(dict(given)), (
        "compiled once, and not in every sampling"
    )
    x = torch.randn(4, 8)
    compiled = torch.compile(lambda x: (x * 2).relu() + 1, backend=backend)
    torch.testing.assert_close(compiled(x), (x * 2).relu() + 1)
    torch._dynamo.reset()
