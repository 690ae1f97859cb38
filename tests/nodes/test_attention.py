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
    return pack("nodes.attention.unet")


@pytest.fixture
def keys_values():
    adapter = make_adapter()
    with torch.no_grad():
        return adapter.keys_values(adapter.user_tokens(users(1)))


def forward(model, cond_or_uncond=(0,), sigma=1.0, batch=2):
    """One UNet forward as the sampler makes it: `batch` latents for each entry of cond_or_uncond."""
    from comfy.patcher_extension import WrapperExecutor, get_all_wrappers

    torch.manual_seed(3)
    x, context, pooled = torch.randn(batch, 4, 12, 12), torch.randn(batch, 77, 192), torch.randn(batch, 128)
    x, context, pooled = (t.repeat(len(cond_or_uncond), *[1] * (t.dim() - 1)) for t in (x, context, pooled))
    options = {"cond_or_uncond": list(cond_or_uncond), "sigmas": torch.full((len(x),), sigma)}
    options |= model.model_options["transformer_options"] | {"wrappers": model.wrappers}
    y = model.model.encode_adm(pooled_output=pooled, width=96, height=96)

    def unet(x, timesteps, _, context, control, options):
        return model.model.diffusion_model(x, timesteps, context, y, control, options)

    executor = WrapperExecutor.new_class_executor(unet, model.model, get_all_wrappers("apply_model", options))
    with torch.no_grad():
        return executor.execute(x, torch.full((len(x),), 500.0), None, context, None, options)


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
        ours = forward(attention.patch_user_attention(model, adapter.keys_values(tokens)))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert (ours - forward(model)).abs().max() > 1e-3


def test_every_block_is_patched_and_none_more(pack, model, attention, keys_values):
    assert dict(pack("nodes.attention.unet_blocks").cross_attention_blocks(model)) == dict(CONFIG.blocks)
    patched = attention.patch_user_attention(model, keys_values)
    assert len(patched.model_options["transformer_options"]["patches_replace"]["attn2"]) == len(CONFIG.blocks)


def test_the_branch_is_on_the_positive_prompts_rows_whatever_their_order(model, attention, keys_values):
    patched = attention.patch_user_attention(model, keys_values)
    plain, personal = forward(model, [0]), forward(patched, [0])
    for order in ([0, 1], [1, 0]):
        rows = forward(patched, order).chunk(2)
        assert torch.allclose(rows[order.index(0)], personal, atol=1e-5)
        assert torch.allclose(rows[order.index(1)], plain, atol=1e-5)


def test_clones_do_not_leak_upstream(model, attention, keys_values):
    plain = forward(model)
    attention.patch_user_attention(model, keys_values, 0.2, 0.8)
    assert torch.equal(forward(model), plain)
    assert not model.wrappers.get("apply_model")


def test_outside_start_and_end_the_forward_is_bit_identical(model, attention, keys_values):
    patched = attention.patch_user_attention(model, keys_values, 0.2, 0.8)
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
    both = attention.patch_user_attention(first, {"middle.0.0": (k, v)})
    both = attention.patch_user_attention(both, {"middle.0.0": (k, 2 * v)})
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
    forward(attention.patch_user_attention(first, keys_values))
    assert called == [("input", 4)]


def test_moving_and_casting_keeps_the_gradient_possible(attention, keys_values):
    with torch.inference_mode():
        patch = attention.UserAttentionPatch(*keys_values["input.4.0"]).to(torch.bfloat16)
    assert patch.k.dtype == torch.bfloat16
    assert not patch.k.is_inference()


def test_keys_and_values_are_computed_once_for_a_whole_sampling(model, attention):
    adapter, counted = make_adapter(), []
    for block in adapter.blocks.values():
        block.register_forward_hook(lambda *_: counted.append(1))
    strengths = {"sem": 1.0, "core": 1.0, "img": 1.0}
    patched = attention.patch_user_attention(model, adapter.for_users(users(1), strengths))
    for sigma in (10.0, 1.0, 0.1):
        forward(patched, [0, 1], sigma)
    assert len(counted) == len(CONFIG.blocks)


def test_what_is_disliked_is_on_the_negative_prompts_rows_alone(model, attention, keys_values):
    disliked = {name: (k, 2 * v) for name, (k, v) in keys_values.items()}
    pushed = attention.patch_user_attention(model, keys_values, negative=disliked)
    cond, uncond = forward(pushed, [0, 1]).chunk(2)
    # 1e-5: a CPU matrix product of more rows rounds otherwise
    assert torch.allclose(cond, forward(attention.patch_user_attention(model, keys_values)), atol=1e-5)
    assert torch.allclose(uncond, forward(attention.patch_user_attention(model, disliked)), atol=1e-5)


def test_a_mask_keeps_the_branch_to_its_place_at_every_grid(pack, attention, keys_values):
    mask = torch.zeros(96, 64)
    mask[:48] = 1
    k, v = keys_values["middle.0.0"]
    patch = attention.UserAttentionPatch(k, v, mask=attention.SpatialMask(mask))
    bare = attention.UserAttentionPatch(k, v)
    text = torch.randn(2, 77, 128)
    for height, width in ((12, 8), (6, 4), (3, 2)):
        q = torch.randn(2, height * width, 128)
        options = {"n_heads": 4, "attn_precision": None, "cond_or_uncond": [0]}
        options |= {"original_shape": [2, 4, 12, 8], "activations_shape": [2, 128, height, width]}
        plain, whole, found = (f(q, text, text, options) for f in (attention.text_attention, bare, patch))
        rows = height // 2 * width  # a grid of three rows has half of its middle one
        assert torch.equal(found[:, :rows], whole[:, :rows])
        assert torch.equal(found[:, -rows:], plain[:, -rows:])
    half = (found - plain)[:, 2:4] / (whole - plain)[:, 2:4]
    assert torch.allclose(half, torch.full_like(half, 0.5), atol=1e-3)  # a quotient of small float32 differences


def test_a_mask_an_image_and_all_white_is_no_mask(pack, model, attention, keys_values):
    masks = torch.stack([torch.zeros(96, 96), torch.ones(96, 96)])
    found = forward(attention.patch_user_attention(model, keys_values, mask=attention.SpatialMask(masks)), [1, 0])
    plain, personal = forward(model), forward(attention.patch_user_attention(model, keys_values))
    assert torch.allclose(found[2], plain[0], atol=1e-5)
    assert torch.allclose(found[3], personal[1], atol=1e-5)


def test_weights_in_eight_bits_do_not_round_the_user(model, attention, keys_values):
    """Core casts patches to the type that the MODEL's weights are kept in."""
    k, v = keys_values["middle.0.0"]
    patch = attention.UserAttentionPatch(k, v, negative=(k, v))
    for target in (torch.float8_e4m3fn, torch.float8_e5m2):
        assert torch.equal(patch.to(target).v, v)
    assert patch.to(torch.bfloat16).v.dtype == patch.to(torch.bfloat16).negative[1].dtype == torch.bfloat16


def test_a_patch_before_ours_is_cast_as_core_asks_whatever_ours_keeps(attention, keys_values):
    class Before:
        def to(self, target):
            return target

    k, v = keys_values["middle.0.0"]
    for target in (torch.float8_e4m3fn, torch.bfloat16):
        assert attention.UserAttentionPatch(k, v, previous=Before()).to(target).previous == target


def test_the_benchmark_times_this_branch(attention):
    """On both rows, less the text's attention within."""
    from benchmarks.adapter import our_variant

    variant = our_variant(attention, (("middle.0.0", 128),), 4, torch.float32)
    q, text, options = torch.randn(2, 9, 128), torch.randn(2, 77, 128), {"n_heads": 4, "attn_precision": None}
    options["cond_or_uncond"] = [0, 1]
    found = variant.patches["middle", 0, 0](q, text, text, options)
    moved = (found - attention.text_attention(q, text, text, options)).abs().amax(dim=(1, 2))
    assert (moved > 1e-3).all()
    seconds, _, blocks = variant.branch_cost()
    assert seconds > 0
    assert blocks == 1


class OtherPack:
    """How ComfyUI_IPAdapter_plus shares a block: its patch has `add`, and it adds to a patch that it finds there."""

    def __init__(self):
        self.calls = 0

    def callback(self, out, q, k, v, options, weight, sigma_start, sigma_end):
        self.calls += 1
        return weight * q

    def apply(self, model, **given):
        model = model.clone()
        there = model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
        given = {"weight": 0.3, "sigma_start": 5.0, "sigma_end": 0.5} | given
        if ("middle", 0, 0) in there:
            there["middle", 0, 0].add(self.callback, **given)
        else:

            def patch(q, k, v, options):
                from comfy.ldm.modules.attention import optimized_attention

                out = optimized_attention(q, k, v, options["n_heads"])
                inside = given["sigma_end"] <= float(options["sigmas"].max()) <= given["sigma_start"]
                return out + self.callback(out, q, k, v, options, **given) if inside else out

            model.set_model_attn2_replace(patch, "middle", 0, 0)
        return model


def test_beside_another_packs_patches_in_either_order(model, attention, keys_values):
    other = OtherPack()
    first = other.apply(attention.patch_user_attention(model, keys_values))
    last = attention.patch_user_attention(other.apply(model), keys_values)
    assert torch.allclose(forward(first), forward(last), atol=1e-5)
    assert other.calls == 2
    ours = forward(attention.patch_user_attention(model, keys_values))
    assert not torch.allclose(forward(first), ours, atol=1e-3)
    assert torch.equal(forward(first, sigma=9.0), forward(last, sigma=9.0)), "outside their steps"
    assert other.calls == 3


def test_what_another_pack_adds_to_a_clone_does_not_reach_the_model_upstream(model, attention, keys_values):
    other, ours = OtherPack(), attention.patch_user_attention(model, keys_values)
    before = forward(ours)
    added = other.apply(other.apply(ours))
    assert torch.equal(forward(ours), before)
    assert other.calls == 0
    forward(added)
    assert other.calls == 2


def test_a_full_size_sdxl_gets_exactly_seventy_branches(pack, attention, monkeypatch):
    """SDXL's own geometry on the meta device, where 2.6 billion weights take no memory and a forward no time."""
    import comfy.ldm.modules.attention as core
    import comfy.model_patcher
    import comfy.supported_models

    # core's choice for the CPU asks how much memory the device has free, which meta cannot tell
    monkeypatch.setattr(core, "optimized_attention", core.attention_pytorch)
    monkeypatch.setattr(attention, "optimized_attention", core.attention_pytorch)
    config = comfy.supported_models.SDXL(shapes.SDXL_UNET.ldm_config())
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, "", torch.device("meta"))
    patcher = comfy.model_patcher.ModelPatcher(model, torch.device("meta"), torch.device("meta"))
    blocks = pack("nodes.attention.unet_blocks").cross_attention_blocks(patcher)
    assert dict(blocks) == dict(shapes.SDXL_UNET.attention_blocks())
    calls = []

    def counted(q, k, v, options):
        calls.append(options["transformer_index"])
        return attention.text_attention(q, k, v, options)

    halves = {name: (torch.zeros(1, 4, width, device="meta"),) * 2 for name, width in blocks}
    patched = attention.patch_user_attention(patcher, halves)
    patches = patched.model_options["transformer_options"]["patches_replace"]["attn2"]
    patched.model_options["transformer_options"]["patches_replace"]["attn2"] = {
        block: attention.replace(patch, previous=counted) for block, patch in patches.items()
    }
    x, context, y = (torch.zeros(shape, device="meta") for shape in ((2, 4, 64, 64), (2, 77, 2048), (2, 2816)))
    options = {**patched.model_options["transformer_options"], "cond_or_uncond": [0, 1]}
    out = model.diffusion_model(x, torch.zeros(2, device="meta"), context, y=y, transformer_options=options)
    assert out.shape == x.shape
    assert len(patches) == len(calls) == 70
