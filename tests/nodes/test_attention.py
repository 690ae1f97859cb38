"""The branch inside ComfyUI's UNet, against diffusers' and against the unpatched UNet."""

import pytest
import torch

from prefgen.adapter import install_in_diffusers
from prefgen.pocket import shapes
from tests.prefgen.test_adapter import CONFIG, make_adapter, users


@pytest.fixture
def model(pocket):
    return pocket.load_model()


@pytest.fixture
def attention(pack):
    return pack("nodes.attention")


@pytest.fixture
def keys_values():
    adapter = make_adapter()
    with torch.no_grad():
        return adapter.keys_values(adapter.user_tokens(users(1)))


def forward(model, cond_or_uncond=(0,), sigma=1.0, batch=2, rows=None):
    """One UNet forward as the sampler makes it: `batch` latents for each entry of cond_or_uncond."""
    torch.manual_seed(3)
    x, context, pooled = torch.randn(batch, 4, 12, 12), torch.randn(batch, 77, 192), torch.randn(batch, 128)
    x, context, pooled = (t.repeat(len(cond_or_uncond), *[1] * (t.dim() - 1)) for t in (x, context, pooled))
    wrappers = {kind: dict(found) for kind, found in model.wrappers.items()}
    options = {
        **model.model_options["transformer_options"],
        "cond_or_uncond": list(cond_or_uncond),
        "sigmas": torch.full((len(x),), sigma),
        "wrappers": wrappers,
    }
    y = model.model.encode_adm(pooled_output=pooled, width=96, height=96)
    with torch.no_grad():
        return model.model.diffusion_model(x, torch.full((len(x),), 500.0), context, y=y, transformer_options=options)


def test_diffusers_and_comfyui_give_one_branch_from_one_weight_file(pocket, model, attention):
    from diffusers import UNet2DConditionModel

    adapter = make_adapter()
    unet = UNet2DConditionModel(**shapes.UNET.diffusers_kwargs()).eval()
    unet.load_state_dict(pocket.load_state("unet"))
    branch = install_in_diffusers(unet, adapter)
    torch.manual_seed(3)
    x, context, pooled = torch.randn(2, 4, 12, 12), torch.randn(2, 77, 192), torch.randn(2, 128)
    size = torch.tensor([shapes.SIZE_CONDITION] * 2, dtype=torch.float32)
    with torch.no_grad():
        tokens = adapter.user_tokens(users(1))
        with branch.users(tokens.expand(2, -1, -1)):
            theirs = unet(x, 500, context, added_cond_kwargs={"text_embeds": pooled, "time_ids": size}).sample
        ours = forward(attention.patch_user_branch(model, adapter.keys_values(tokens)))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert (ours - forward(model)).abs().max() > 1e-3


def test_every_block_is_patched_and_none_more(model, attention, keys_values):
    assert dict(attention.cross_attention_blocks(model)) == dict(CONFIG.blocks)
    patched = attention.patch_user_branch(model, keys_values)
    assert len(patched.model_options["transformer_options"]["patches_replace"]["attn2"]) == len(CONFIG.blocks)


def test_the_branch_is_on_the_positive_prompts_rows_whatever_their_order(model, attention, keys_values):
    patched = attention.patch_user_branch(model, keys_values)
    plain, personal = forward(model, [0]), forward(patched, [0])
    for order in ([0, 1], [1, 0]):
        rows = forward(patched, order).chunk(2)
        assert torch.allclose(rows[order.index(0)], personal, atol=1e-5)
        assert torch.allclose(rows[order.index(1)], plain, atol=1e-5)


def test_clones_do_not_leak_upstream(model, attention, keys_values):
    plain = forward(model)
    attention.patch_user_branch(model, keys_values, 0.2, 0.8)
    assert torch.equal(forward(model), plain)
    assert not model.wrappers.get("diffusion_model")


def test_outside_start_and_end_the_forward_is_bit_identical(model, attention, keys_values):
    patched = attention.patch_user_branch(model, keys_values, 0.2, 0.8)
    sampling = model.get_model_object("model_sampling")
    for percent, active in ((0.1, False), (0.5, True), (0.9, False)):
        sigma = sampling.percent_to_sigma(percent)
        assert torch.equal(forward(patched, sigma=sigma), forward(model, sigma=sigma)) is not active


def test_two_people_add_up_block_by_block(model, attention, keys_values):
    seen = {}

    def before(q, k, v, options):
        seen["out"] = attention.text_attention(q, k, v, options)
        return seen["out"]

    first = model.clone()
    first.set_model_attn2_replace(before, "middle", 0, 0)
    k, v = keys_values["middle.0.0"]
    both = attention.patch_user_branch(first, {"middle.0.0": (k, v)})
    both = attention.patch_user_branch(both, {"middle.0.0": (k, 2 * v)})
    q, text = torch.randn(2, 9, 128), torch.randn(2, 77, 128)
    options = {"n_heads": 4, "attn_precision": None, "cond_or_uncond": [0]}
    patch = both.model_options["transformer_options"]["patches_replace"]["attn2"][("middle", 0, 0)]
    added = patch(q, text, text, options) - seen["out"]
    from prefgen.adapter import decoupled_attention

    assert torch.allclose(added, 3 * decoupled_attention(q, k, v, 4), atol=1e-5)


def test_a_patch_on_the_whole_layer_is_not_shadowed(model, attention, keys_values):
    called = []

    def before(q, k, v, options):
        called.append(options["block"])
        return attention.text_attention(q, k, v, options)

    first = model.clone()
    first.set_model_attn2_replace(before, "input", 4)
    forward(attention.patch_user_branch(first, keys_values))
    assert called == [("input", 4)]


def test_moving_and_casting_keeps_the_gradient_possible(attention, keys_values):
    with torch.inference_mode():
        patch = attention.UserPatch(*keys_values["input.4.0"]).to(torch.bfloat16)
    assert patch.k.dtype == torch.bfloat16
    assert not patch.k.is_inference()


def test_keys_and_values_are_computed_once_for_a_whole_sampling(pack, model, attention):
    adapter, counted = make_adapter(), []
    for block in adapter.blocks.values():
        block.register_forward_hook(lambda *_: counted.append(1))
    strengths = {"sem": 1.0, "core": 1.0, "img": 1.0}
    patched = attention.patch_user_branch(model, pack("nodes.adapter").user_keys_values(adapter, users(1), strengths))
    for sigma in (10.0, 1.0, 0.1):
        forward(patched, [0, 1], sigma)
    assert len(counted) == len(CONFIG.blocks)
