"""The adapter: tokens, keys and values, and the branch in diffusers' UNet."""

import dataclasses
import json

import pytest
import torch

from prefgen.adapter import (
    AdapterConfig,
    PreferenceAdapter,
    UserParts,
    decoupled_attention,
    diffusers_block_name,
    install_in_diffusers,
)
from prefgen.errors import CheckpointError, EmbeddingError, ModelError
from prefgen.pocket import shapes

CONFIG = AdapterConfig(
    sem_dim=24, core_dim=24, img_dim=16, text_dim=128, context_dim=192, blocks=shapes.UNET.attention_blocks()
)


def make_adapter(config: AdapterConfig = CONFIG, seed: int = 0) -> PreferenceAdapter:
    torch.manual_seed(seed)
    adapter = PreferenceAdapter(config)
    for block in adapter.blocks.values():
        torch.nn.init.normal_(block.to_v.weight, std=0.1)  # trained, as it were: they start at zero
    return adapter


def users(count: int = 2, seed: int = 1) -> UserParts:
    torch.manual_seed(seed)
    return UserParts(torch.randn(count, 24), torch.randn(count, 24), torch.randn(count, 16))


def make_unet():
    from diffusers import UNet2DConditionModel

    torch.manual_seed(2)
    return UNet2DConditionModel(**shapes.UNET.diffusers_kwargs()).eval()


def forward(unet) -> torch.Tensor:
    torch.manual_seed(3)
    x, context, pooled = torch.randn(2, 4, 12, 12), torch.randn(2, 77, 192), torch.randn(2, 128)
    size = torch.tensor([shapes.SIZE_CONDITION] * 2, dtype=torch.float32)
    return unet(x, 500, context, added_cond_kwargs={"text_embeds": pooled, "time_ids": size}).sample


def test_the_config_survives_json():
    assert AdapterConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG


@pytest.mark.parametrize("broken", [{}, {"sem_dim": 3}, {**CONFIG.to_dict(), "nonsense": 1}])
def test_a_broken_config_is_refused(broken):
    with pytest.raises(CheckpointError, match="AdapterConfig"):
        AdapterConfig.from_dict(broken)


def test_an_adapter_without_tokens_or_blocks_is_refused():
    with pytest.raises(CheckpointError, match="no user tokens"):
        dataclasses.replace(CONFIG, sem_tokens=0, core_tokens=0, img_tokens=0)
    with pytest.raises(CheckpointError, match="cross-attention block"):
        dataclasses.replace(CONFIG, blocks=())


def test_tokens_stand_in_the_order_sem_core_img():
    adapter = make_adapter()
    tokens = adapter.user_tokens(users())
    assert tokens.shape == (2, 6, 192)
    other = adapter.user_tokens(users()._replace(core=torch.randn(2, 24)))
    changed = (tokens - other).abs().amax(dim=(0, 2)) > 0
    assert changed.tolist() == [False, False, True, True, False, False]


def test_a_single_user_makes_a_batch_of_one():
    one = UserParts(*(part[0] for part in users()))
    adapter = make_adapter()
    assert torch.allclose(adapter.user_tokens(one), adapter.user_tokens(users())[:1], atol=1e-6)


def test_an_adapter_may_know_the_images_only():
    adapter = make_adapter(dataclasses.replace(CONFIG, sem_tokens=0, core_tokens=0, img_tokens=4))
    assert adapter.alignment is None
    assert adapter.user_tokens(UserParts(img=torch.randn(3, 16))).shape == (3, 4, 192)


def test_a_part_that_is_absent_or_of_another_width_is_named():
    with pytest.raises(EmbeddingError, match="img part is missing"):
        make_adapter().user_tokens(users()._replace(img=None))
    with pytest.raises(EmbeddingError, match=r"core part is 25 wide; expected a width of 24"):
        make_adapter().user_tokens(users()._replace(core=torch.randn(2, 25)))


def test_every_block_gets_keys_and_values():
    pairs = make_adapter().keys_values(torch.randn(2, 6, 192))
    assert {name: k.shape[-1] for name, (k, _) in pairs.items()} == dict(shapes.UNET.attention_blocks())
    assert all(k.shape == v.shape == (2, 6, 128) for k, v in pairs.values())


def test_the_branch_is_linear_in_each_parts_strength():
    adapter = make_adapter()
    tokens, q = adapter.user_tokens(users()), torch.randn(2, 9, 128)

    def branch(**strengths: float) -> torch.Tensor:
        k, v = adapter.keys_values(tokens, strengths)["middle.0.0"]
        return decoupled_attention(q, k, v, heads=4)

    alone = [
        branch(**{part: float(part == kept) for part in ("sem", "core", "img")}) for kept in ("sem", "core", "img")
    ]
    assert torch.allclose(sum(alone), branch(), atol=1e-5)
    assert torch.allclose(branch(sem=2.0), branch() + alone[0], atol=1e-5)


def test_decoupled_attention_is_softmax_attention_by_head():
    q, k, v = torch.randn(2, 5, 8), torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    by_head = [
        (q[..., c] @ k[..., c].mT / 2.0).softmax(-1) @ v[..., c] for c in (slice(0, 4), slice(4, 8))
    ]  # fmt: skip
    assert torch.allclose(decoupled_attention(q, k, v, heads=2), torch.cat(by_head, -1), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_decoupled_attention_is_as_exact_as_its_format(dtype):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, count, 128, generator=generator).to(dtype) for count in (64, 4, 4))
    out = decoupled_attention(q, k, v, heads=2).double()
    exact = decoupled_attention(q.double(), k.double(), v.double(), heads=2)
    # values are about 1: a format's step there is its eps, and a few roundings follow each other
    assert (out - exact).square().mean().sqrt() < torch.finfo(dtype).eps


def test_one_users_keys_serve_every_row_of_a_batch():
    q, k, v = torch.randn(3, 5, 8), torch.randn(1, 3, 8), torch.randn(1, 3, 8)
    expanded = decoupled_attention(q, k.expand(3, -1, -1), v.expand(3, -1, -1), heads=2)
    assert torch.equal(decoupled_attention(q, k, v, heads=2), expanded)


@pytest.mark.parametrize(
    ("processor", "block"),
    [
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor", "input.4.0"),
        ("down_blocks.2.attentions.1.transformer_blocks.9.attn2.processor", "input.8.9"),
        ("mid_block.attentions.0.transformer_blocks.3.attn2.processor", "middle.0.3"),
        ("up_blocks.0.attentions.2.transformer_blocks.0.attn2.processor", "output.2.0"),
        ("up_blocks.1.attentions.0.transformer_blocks.1.attn2.processor", "output.3.1"),
    ],
)
def test_diffusers_names_become_comfyuis(processor, block):
    assert diffusers_block_name(processor) == block


def test_a_self_attention_has_no_block_name():
    with pytest.raises(ModelError, match="attn1"):
        diffusers_block_name("mid_block.attentions.0.transformer_blocks.3.attn1.processor")


def test_in_diffusers_the_branch_answers_to_the_users_context_only():
    unet, adapter = make_unet(), make_adapter()
    with torch.no_grad():
        plain = forward(unet)
        branch = install_in_diffusers(unet, adapter)
        assert torch.allclose(forward(unet), plain, atol=1e-6)
        tokens = adapter.user_tokens(users())
        with branch.users(tokens):
            personal = forward(unet)
        with branch.users(tokens * torch.tensor([0.0, 1.0])[:, None, None]):
            half = forward(unet)
        assert torch.allclose(forward(unet), plain, atol=1e-6)
    assert (personal - plain).abs().max() > 1e-3
    assert torch.allclose(half[0], plain[0], atol=1e-6)
    assert torch.allclose(half[1], personal[1], atol=1e-6)


def test_training_reaches_every_weight_of_the_adapter_and_none_of_the_unet():
    unet, adapter = make_unet().requires_grad_(False), make_adapter()
    branch = install_in_diffusers(unet, adapter)
    with branch.users(adapter.user_tokens(users())):
        forward(unet).square().mean().backward()
    assert not [name for name, weight in adapter.named_parameters() if weight.grad is None]
    assert all(weight.grad is None for weight in unet.parameters())


def test_an_adapter_of_another_unet_is_refused():
    with pytest.raises(ModelError, match=r"11 cross-attention blocks.*expects 70"):
        install_in_diffusers(make_unet(), make_adapter(dataclasses.replace(CONFIG, blocks=SDXL_BLOCKS)))


SDXL_BLOCKS = tuple((name, 8) for name, _ in shapes.SDXL_UNET.attention_blocks())


def test_attention_fusion_begins_as_concatenation_and_then_lets_parts_meet():
    plain, fused = make_adapter(), make_adapter(dataclasses.replace(CONFIG, fusion="attention"))
    fused.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(fused.user_tokens(users()), plain.user_tokens(users()))
    torch.nn.init.normal_(fused.fusion.to_out.weight, std=0.1)
    other = users()._replace(core=torch.randn(2, 24))
    changed = (fused.user_tokens(users()) - fused.user_tokens(other)).abs().amax(dim=(0, 2)) > 0
    assert changed.all(), "a token of every part knows the core part now"


def test_an_unknown_fusion_is_refused():
    with pytest.raises(CheckpointError, match=r"'sum'.*concatenation, attention"):
        dataclasses.replace(CONFIG, fusion="sum")


def test_a_hidden_layer_begins_as_the_linear_map_and_then_bends_it():
    plain, bent = make_adapter(), make_adapter(dataclasses.replace(CONFIG, hidden=16))
    bent.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(bent.user_tokens(users()), plain.user_tokens(users()))

    def bend_of(adapter):
        """How far the tokens before their norm are from linear in the embedding: a map of x, of -x and of nothing."""
        projection = adapter.projections["core"]
        projection.norm = torch.nn.Identity()
        return (projection(core) + projection(-core) - 2 * projection(torch.zeros_like(core))).abs().max()

    core = users().core
    torch.nn.init.normal_(bent.projections["core"].bend.output.weight, std=0.1)
    assert bend_of(plain) < 1e-5 < 1e-2 < bend_of(bent)  # rounding of sums of 24 products against the bend itself


def test_a_negative_hidden_width_is_refused():
    with pytest.raises(CheckpointError, match=r"hidden .*-1"):
        dataclasses.replace(CONFIG, hidden=-1)


def test_a_header_of_before_has_the_papers_way():
    old = {k: v for k, v in CONFIG.to_dict().items() if k not in ("fusion", "core_aligned", "hidden")}
    assert AdapterConfig.from_dict(old) == CONFIG


def test_core_can_have_an_alignment_of_its_own():
    adapter = make_adapter(dataclasses.replace(CONFIG, core_aligned=True))
    assert adapter.user_tokens(users()).shape == (2, 6, 192)
    assert adapter.projections["core"].linear.in_features == CONFIG.text_dim
    assert any(name.startswith("core_alignment.") for name in adapter.state_dict())
    assert make_adapter().core_alignment is None
