"""One weight file, trained through diffusers, read by ComfyUI's side: both branches give the same image."""

import dataclasses

import pytest
import torch

from prefgen.adapter import AdapterConfig, PreferenceAdapter, UserParts, install_in_diffusers
from prefgen.alignment import Alignment, AlignmentConfig
from prefgen.checkpoint.file import write_part
from prefgen.pocket import shapes
from tests.nodes.test_attention import forward

ALIGNMENT = AlignmentConfig(24, 128, hidden_dim=16)
CONFIG = AdapterConfig(24, 24, 16, 128, 192, blocks=shapes.UNET.attention_blocks())
USER = UserParts(torch.randn(24), torch.randn(24), torch.randn(16))


def write_trained(path, config):
    """A checkpoint with an adapter as training writes it; the values are random where they start at zero."""
    from train.adapter.fit import write_adapter

    torch.manual_seed(0)
    adapter = PreferenceAdapter(config, ALIGNMENT)
    for name, tensor in adapter.state_dict().items():
        if name.endswith(("to_v.weight", "fusion.to_out.weight")):
            tensor.normal_(std=0.1)
    write_part(path, "alignment", dataclasses.asdict(ALIGNMENT), adapter.alignment.state_dict())
    write_adapter(path, adapter)
    return path


def adapter_from(path):
    """The adapter as `load_preference_model` makes it of a file."""
    from prefgen.checkpoint.preference_model import load_preference_model

    return load_preference_model(path).require("adapter")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fusion": "attention"},
        {"core_aligned": True},
        {"sem_tokens": 1, "img_tokens": 0},
        {"hidden": 8},
        {"fusion": "codebook", "codebook_sizes": (3, 5)},
    ],
    ids=str,
)
def test_diffusers_and_comfyui_paint_the_same_from_one_file(changes, pack, pocket, tmp_path):
    from diffusers import UNet2DConditionModel

    path = write_trained(tmp_path / "p.safetensors", dataclasses.replace(CONFIG, **changes))
    unet = UNet2DConditionModel(**shapes.UNET.diffusers_kwargs()).eval()
    unet.load_state_dict(pocket.load_state("unet"))
    adapter = adapter_from(path)
    branch = install_in_diffusers(unet, adapter)
    torch.manual_seed(3)
    x, context, pooled = torch.randn(2, 4, 12, 12), torch.randn(2, 77, 192), torch.randn(2, 128)
    size = torch.tensor([shapes.SIZE_CONDITION] * 2, dtype=torch.float32)
    added = {"text_embeds": pooled, "time_ids": size}
    with torch.no_grad():
        plain = unet(x, 500, context, added_cond_kwargs=added).sample
        with branch.users(adapter.user_tokens(USER).expand(2, -1, -1)):
            theirs = unet(x, 500, context, added_cond_kwargs=added).sample
    loaded = pack("prefgen.checkpoint.preference_model").load_preference_model(path)
    pairs = loaded.adapter.keys_values(loaded.adapter.user_tokens(USER))
    ours = forward(pack("nodes.attention.unet").patch_user_attention(pocket.load_model(), pairs))
    # Two implementations of one UNet in float32: 1e-5 is their own difference without any branch.
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert (theirs - plain).abs().max() > 1e-3, "the branch does something"


def test_the_alignments_travel_with_the_file(tmp_path):
    config = dataclasses.replace(CONFIG, core_aligned=True)
    adapter = adapter_from(write_trained(tmp_path / "p.safetensors", config))
    torch.manual_seed(0)
    made = PreferenceAdapter(config, ALIGNMENT)
    assert isinstance(adapter.core_alignment, Alignment)
    for part in ("alignment", "core_alignment"):
        theirs = getattr(made, part).state_dict()
        # 1e-3: what lies with the adapter is kept in half precision.
        assert all(torch.allclose(x, theirs[n], atol=1e-3) for n, x in getattr(adapter, part).state_dict().items())
