"""IP-Adapter files as preference models with an adapter for `img` alone."""

import pytest
import torch
import torch.nn.functional as F

from prefgen.checkpoint import ip_adapter
from prefgen.checkpoint.ip_adapter import load_ip_adapter
from prefgen.embedding import encode_user
from prefgen.errors import CheckpointError, EmbeddingError
from prefgen.pocket.shapes import SDXL_UNET, UNET, UNetShape
from tests.prefgen import ip_adapters, tiny


def embed(images):
    return images.flatten(2).mean(-1).repeat(1, 6)[:, : ip_adapters.WIDTH] * 20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ip.safetensors"


def test_tokens_keys_and_values_are_those_of_the_published_computation(path):
    model = load_ip_adapter(ip_adapters.write(path, UNET))
    history = tiny.history(3)
    user = encode_user(model, history, embed)
    found = model.adapter.keys_values(model.adapter.user_tokens(user))
    held = {name: tensor.half().float() for name, tensor in ip_adapters.tensors(UNET).items()}
    image = embed(torch.stack([pair.liked for pair in history.pairs])).mean(0, keepdim=True)
    tokens = F.linear(image, held["image_proj.proj.weight"], held["image_proj.proj.bias"]).reshape(1, 4, -1)
    tokens = F.layer_norm(tokens, tokens.shape[-1:], held["image_proj.norm.weight"], held["image_proj.norm.bias"])
    # the published order: down, up, and the middle last
    for number, name in ((1, "input.4.0"), (9, "output.0.0"), (21, "middle.0.0")):
        for half, kind in zip(found[name], "kv", strict=True):
            expected = F.linear(tokens, held[f"ip_adapter.{number}.to_{kind}_ip.weight"])
            assert torch.allclose(half, expected, atol=1e-4)  # float32 sums of 192 products


def test_sdxls_seventy_blocks_are_named_as_comfyui_names_them():
    """By their widths alone: a whole file would be 700 MB."""
    blocks = ip_adapter.name_blocks("x", [640] * 4 + [1280] * 50 + [640] * 6 + [1280] * 10, 2048)
    assert dict(blocks) == dict(SDXL_UNET.attention_blocks())
    assert [blocks[place][0] for place in (0, 4, 24, 54, 59, 60, 69)] == [
        *("input.4.0", "input.7.0", "output.0.0", "output.3.0", "output.5.1", "middle.0.0", "middle.0.9")
    ]


def test_images_are_read_by_a_tower_that_is_connected_and_by_nothing_else(path):
    model = load_ip_adapter(ip_adapters.write(path, UNET))
    user = encode_user(model, tiny.history(2), embed)
    user.require_from(model)
    assert list(user.vectors) == ["img", "disliked_img"]
    assert not torch.equal(user.img, user.disliked_img)
    with pytest.raises(EmbeddingError, match=r"ip\.safetensors.*Connect a CLIP_VISION"):
        encode_user(model, tiny.history(2))
    with pytest.raises(CheckpointError, match=r"ip\.safetensors has no prefdisc part \(it has: adapter\)"):
        model.require("prefdisc")


SD15 = UNetShape(channels=(32, 64, 128), depth=(1, 1, 1), context_dim=768)


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        (SD15, {}, "\\d+ blocks .* and text 768 wide .SD1.5.; expected SDXL's 70 blocks"),
        (
            UNET,
            {"image_proj__proj__weight": None, "image_proj__latents": torch.zeros(2)},
            "an IP-Adapter with .*latents.*Plus",
        ),
        (UNET, {"ip_adapter__3__to_v_ip__weight": None}, "lacks K or V in block 3"),
        (
            UNET,
            {"ip_adapter__3__to_v_ip__weight": torch.full((128, 192), torch.nan)},
            "has NaN or infinity in ip_adapter.3.to_v",
        ),
        (UNET, {"ip_adapter__3__to_v_ip__weight": torch.zeros(128, 9)}, "tensors that do not fit each other"),
        (
            UNET,
            {"image_proj__proj__weight": torch.zeros(700, 16)},
            "tensors that do not fit each other",
        ),
    ],
)
def test_files_that_cannot_be_used(path, shape, changes, message):
    ip_adapters.write(path, shape, **changes)
    with pytest.raises(CheckpointError, match=rf"ip\.safetensors.*({message})"):
        load_ip_adapter(path)


def test_files_that_are_no_ip_adapter(path):
    ip_adapters.save_file({"lora.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="is no IP-Adapter"):
        load_ip_adapter(path)
    path.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(CheckpointError, match=r"cannot be read as \.safetensors"):
        load_ip_adapter(path)
