"""Pickles: tokens come out of every form that a pool is saved in, and nothing else is unpickled."""

import os

import pytest
import torch

from prefgen.checkpoint.convert.pickled import read_pool, read_state_dict
from prefgen.errors import CheckpointError
from tests.prefgen.checkpoint.convert import published

TENSOR = torch.randn(4, 6)


class Running:
    """What a hostile pickle does."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "saved",
    [TENSOR, {"prompt": TENSOR}, {"model.prompt_pool.prompt": TENSOR.half()}, torch.nn.Parameter(TENSOR[None])],
)
def test_every_form_of_a_pool(tmp_path, saved):
    torch.save(saved, tmp_path / "pool.pt")
    read = read_pool(tmp_path / "pool.pt")
    assert read.dtype == torch.float32
    assert torch.allclose(read, TENSOR, atol=2e-3)  # one of them is in half precision


def test_a_pickled_module_needs_no_code_of_its_authors(tmp_path):
    expected = published.write_pool(tmp_path / "prompt_pool.pt")
    assert torch.equal(read_pool(tmp_path / "prompt_pool.pt"), expected)


@pytest.mark.parametrize("inside", ["bare", "in a dictionary"])
def test_a_pickle_that_would_run_something_runs_nothing(tmp_path, inside):
    trap = tmp_path / "ran"
    saved = Running(trap)
    if inside == "in a dictionary":
        saved = {"prompt": TENSOR, "more": saved}
    torch.save(saved, tmp_path / "pool.pt")
    with pytest.raises(CheckpointError, match="could not be read as a pickle of tensors"):
        read_pool(tmp_path / "pool.pt")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"other": TENSOR}, "holds no tensor; expected preference tokens"),
        ({"prompt": TENSOR, "again.prompt": TENSOR}, "holds no tensor"),
        ([1, 2], "holds no tensor"),
        (torch.zeros(3), r"holds a tensor of shape \(3,\)"),
        (torch.zeros(3, 4, dtype=torch.long), "holds a tensor of type int64"),
        (TENSOR.to(torch.float8_e4m3fn), "holds a tensor of type float8_e4m3fn"),
        (TENSOR.to_sparse(), "holds a tensor in a sparse or nested layout"),
        (TENSOR.to("meta"), "holds a tensor without values"),
        (torch.zeros(1).expand(10**7, 10**6), "holds a tensor of shape .* with values for a part of it only"),
        (torch.full((3, 4), torch.nan), "holds a tensor with NaN"),
    ],
)
def test_what_is_no_pool(tmp_path, saved, message):
    torch.save(saved, tmp_path / "pool.pt")
    with pytest.raises(CheckpointError, match=message):
        read_pool(tmp_path / "pool.pt")


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_pickle(tmp_path, content):
    (tmp_path / "pool.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="could not be read as a pickle of tensors"):
        read_pool(tmp_path / "pool.pt")


def test_a_state_dict_is_tensors_only(tmp_path):
    torch.save({"a": TENSOR, "b": 3}, tmp_path / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="expected a state dict of tensors"):
        read_state_dict(tmp_path / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="could not be read"):
        read_state_dict(tmp_path / "missing.bin")
