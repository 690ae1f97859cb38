"""Shapes and expansions of the pocket models."""

import pytest
import torch

from prefgen.errors import CheckpointError
from prefgen.pocket import shapes, taesd, text
from tests import pocket_files
from train.pocket.taesd import ThinTAESD


def test_the_full_size_sdxl_has_its_70_cross_attention_blocks():
    assert len(shapes.SDXL_UNET.attention_blocks()) == 70
    assert shapes.SDXL_UNET.condition_dim == 2816
    assert shapes.SDXL_UNET.ldm_config()["transformer_depth"] == [0, 0, 2, 2, 10, 10]


def test_a_thin_taesd_is_a_wide_one_with_zeros():
    thin = ThinTAESD()
    wide = taesd.pad_to_core_width(thin.state_dict())
    assert wide["taesd_encoder.0.weight"].shape == (64, 3, 3, 3)
    assert wide["taesd_decoder.3.conv.0.weight"].shape == (64, 64, 3, 3)
    assert wide["taesd_decoder.19.weight"].shape == (3, 64, 3, 3)
    x = torch.rand(2, 4, 12, 12)
    assert torch.allclose(thin.decode(x), decode(wide, x), atol=1e-6)


def decode(state: dict, x: torch.Tensor) -> torch.Tensor:
    """TAESD's decoder in plain functions, of any width."""

    def conv(x, name):
        return torch.conv2d(
            x, state[f"taesd_decoder.{name}.weight"], state.get(f"taesd_decoder.{name}.bias"), padding=1
        )

    def block(x, index):
        hidden = conv(conv(conv(x, f"{index}.conv.0").relu(), f"{index}.conv.2").relu(), f"{index}.conv.4")
        return (hidden + x).relu()

    x = conv(torch.tanh(x / 3) * 3, 1).relu()
    for blocks, up in (((3, 4, 5), 7), ((8, 9, 10), 12), ((13, 14, 15), 17)):
        for index in blocks:
            x = block(x, index)
        x = conv(torch.nn.functional.interpolate(x, scale_factor=2), up)
    return conv(block(x, 18), 19)


def test_a_state_dict_that_is_no_taesd_is_refused():
    with pytest.raises(CheckpointError, match=r"taesd_encoder\.0\.weight"):
        taesd.pad_to_core_width({"decoder.conv_in.weight": torch.zeros(1)})


def test_words_of_the_vocabulary_keep_their_rows_and_all_others_share_one():
    rows, ids, unknown = torch.randn(2, 8), torch.tensor([5, 49407]), torch.randn(8)
    table = text.token_table(rows, ids, unknown)
    assert table.shape == (49_408, 8)
    assert torch.equal(table[5], rows[0])
    assert torch.equal(table[49407], rows[1])
    assert torch.equal(table[6], unknown)


def test_a_text_encoder_file_without_its_vocabulary_is_refused():
    state = pocket_files.text_encoders()
    del state["clip_g.unknown_row"]
    with pytest.raises(CheckpointError, match=r"clip_g\.unknown_row"):
        text.expand_encoders(state)


def test_a_part_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "FOLDER", tmp_path)
    with pytest.raises(CheckpointError, match=r"unet\.safetensors"):
        shapes.weights_path("unet")
    with pytest.raises(CheckpointError, match="clip_vision"):
        shapes.weights_path("decoder")
