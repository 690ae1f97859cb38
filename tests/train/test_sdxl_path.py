"""The whole SDXL path at tiny size: a base in published layout becomes a picture in a real server."""

import pytest

from prefgen.checkpoint.file import read_checkpoint
from train import sdxl_path

pytestmark = pytest.mark.server


def test_a_base_in_published_layout_becomes_a_persons_picture(comfy, tmp_path):
    result = sdxl_path.run(tmp_path, comfy)
    assert result["parts"] == ["sem", "core", "img"]
    assert result["painted_differs"] is True, "from plain, and from another person's picture"
    assert result["strength_0_identical"] is True
    assert result["losses_fall"] is True, result["losses"]
    assert set(result["losses"]) == {"prefdisc stage 1", "prefdisc stage 2", "align", "adapter"}
    checkpoint = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert set(checkpoint.header) >= {"prefdisc", "alignment", "adapter", "image_tower"}, "one file"
    assert "pocket" not in str(checkpoint.header), "no pocket part in it"
    assert checkpoint.header["prefdisc"]["num_tokens"] == 3
    assert checkpoint.header["alignment"]["text_dim"] == 128, "SDXL's text encoder"
