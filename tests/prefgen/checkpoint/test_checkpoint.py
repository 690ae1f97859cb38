"""Preference checkpoints on disk, good and bad."""

import json
import os
import shutil
import struct

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from prefgen.checkpoint.file import is_checkpoint, read_checkpoint, write_part
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.errors import CheckpointError
from prefgen.prefdisc.base.locate import load_base_by_id
from tests.prefgen import checkpoints, tiny


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    checkpoints.write_base(folder)
    return folder


@pytest.fixture(scope="module")
def revision(bases):
    from prefgen.safefile import read_header

    return read_header(bases / "tiny" / "base.safetensors", "base model")["revision"]


@pytest.fixture
def whole(tmp_path, revision):
    return checkpoints.write_checkpoint(tmp_path / "whole.safetensors", revision)


def test_a_checkpoint_comes_back_whole(whole, bases):
    model = load_preference_model(whole, base_folders=[bases])
    assert model.fingerprint == read_checkpoint(whole).fingerprint
    assert model.header["licence"] == "CC0-1.0"
    assert model.spec.labels == ("+", "-")
    assert model.adapter.alignment is not None
    assert torch.equal(model.prefdisc.tokens, tiny.prefdisc().tokens)
    assert not any(p.requires_grad for p in model.parameters())
    fp16 = tiny.prefdisc()
    fp16.base.half().float()
    images = torch.rand(2, 3, 24, 24)
    assert torch.allclose(model.prefdisc.logits(None, images), fp16.logits(None, images), atol=1e-4)


def test_weights_loaded_in_inference_mode_can_serve_a_gradient(whole, bases):
    with torch.inference_mode():
        model = load_preference_model(whole, base_folders=[bases])
    image = torch.rand(1, 3, 24, 24, requires_grad=True)
    model.prefdisc.score(None, image).sum().backward()
    assert image.grad.abs().sum() > 0


def test_writing_a_part_keeps_the_others_and_changes_the_fingerprint(whole):
    before = read_checkpoint(whole)
    after = write_part(whole, "prefdisc", before.header["prefdisc"], {"tokens": torch.zeros(3, 32)}, training={"a": 1})
    assert after.fingerprint != before.fingerprint
    assert after.header["training"] == {"a": 1}
    assert all(torch.equal(after.part("adapter")[k], v) for k, v in before.part("adapter").items())


def test_a_full_disk_leaves_the_file_before_and_no_part_of_another(whole, monkeypatch):
    """The library has an error of its own for it, which is no OSError."""
    before = whole.read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"some of it")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError, match=r"whole\.safetensors could not be written .*No space left.* MiB free"):
        write_part(whole, "prefdisc", read_checkpoint(whole).header["prefdisc"], {"tokens": torch.zeros(3, 32)})
    assert whole.read_bytes() == before
    assert [path.name for path in whole.parent.iterdir()] == [whole.name]


def test_what_reads_histories_is_the_same_with_and_without_an_adapter(tmp_path, whole, bases, revision):
    bare = checkpoints.write_checkpoint(tmp_path / "bare.safetensors", revision, parts=("prefdisc",))
    one, other = (load_preference_model(path, base_folders=[bases]) for path in (whole, bare))
    assert one.encoder_fingerprint == other.encoder_fingerprint
    assert one.fingerprint != other.fingerprint


def refused(message, path, bases=()):
    with pytest.raises(CheckpointError, match=message):
        load_preference_model(path, base_folders=list(bases))


@pytest.mark.parametrize("kept", [0.1, 0.6, 0.999])
def test_a_truncated_file(whole, kept):
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * kept)])
    refused(r"whole\.safetensors is not a complete \.safetensors file", whole)
    assert not is_checkpoint(whole)


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"\x80\x02}q\x00.", b"PK\x03\x04" + bytes(64), struct.pack("<Q", 4) + b"nope"]
)
def test_a_file_that_is_no_safetensors(tmp_path, content):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    refused(r"other\.safetensors is not a complete \.safetensors file", path)


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
OURS = {"kind": "base model", "format": 1, "id": "another/model"}
STRANGE = {
    "metadata null": {"__metadata__": None, "a": TENSOR},
    "metadata list": {"__metadata__": [1], "a": TENSOR},
    "header number": {"__metadata__": {"prefgen": 5}, "a": TENSOR},
    "header deep": {"__metadata__": {"prefgen": "[" * 100_000}, "a": TENSOR},
    "kind list": {"__metadata__": {"prefgen": json.dumps(OURS | {"kind": ["x"]})}, "a": TENSOR},
    "kind of two lines": {"__metadata__": {"prefgen": json.dumps(OURS | {"kind": "x\nfine"})}, "a": TENSOR},
    "format text": {"__metadata__": {"prefgen": json.dumps(OURS | {"format": "9"})}, "a": TENSOR},
    "format null": {"__metadata__": {"prefgen": json.dumps(OURS | {"format": None})}, "a": TENSOR},
    "places text": {"a": TENSOR | {"data_offsets": ["0", "4"]}},
    "places null": {"a": TENSOR | {"data_offsets": [0, None]}},
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 4]}},
    "shape text": {"a": TENSOR | {"shape": ["1"]}},
    "tensor null": {"a": None},
    "list": [],
    "deep": "[" * 100_000,
}


def written(path, listing):
    text = (listing if isinstance(listing, str) else json.dumps(listing)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    return path


@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_header_is_refused_and_hides_no_base_beside_it(tmp_path, bases, kind):
    (tmp_path / "aaa").mkdir()
    path = written(tmp_path / "aaa" / "strange.safetensors", STRANGE[kind])
    refused(r"strange\.safetensors (is a|is not a complete|has no PrefGen|has a damaged|has format ('9'|None);)", path)
    assert not is_checkpoint(path)
    shutil.copytree(bases / "tiny", tmp_path / "tiny")
    assert load_base_by_id("tests/tiny", [tmp_path]) is not None


@pytest.mark.parametrize("change", [{"prefdisc": [1]}, {"prefdisc": None}, {"training": [1]}, {"training": None}])
def test_a_header_whose_parts_are_no_parts(whole, change):
    rewritten(whole, lambda header: header | change)
    refused(r"whole\.safetensors is damaged or was edited: its header\'s (prefdisc|training) is ", whole)


def test_a_safetensors_file_that_is_not_ours(tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file({"prefdisc.tokens": torch.zeros(3, 32)}, path, metadata={"format": "pt"})
    refused(r"lora\.safetensors has no PrefGen header", path)


def test_another_kind_of_ours(bases):
    refused(
        "is a PrefGen 'base model'; expected a PrefGen 'preference checkpoint'", bases / "tiny" / "base.safetensors"
    )


def test_a_newer_format(whole):
    rewritten(whole, lambda header: header | {"format": 99})
    refused(r"whole\.safetensors has format 99; expected at most 1\. Update PrefGen", whole)


def test_a_flipped_byte(whole, bases):
    data = bytearray(whole.read_bytes())
    data[-9] ^= 1
    whole.write_bytes(data)
    refused("does not match its fingerprint", whole, [bases])


def test_a_missing_file(tmp_path):
    refused(r"none\.safetensors could not be read", tmp_path / "none.safetensors")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_checkpoint(tmp_path / "pipe.safetensors")


def test_a_part_that_is_needed_and_absent(tmp_path, bases, revision):
    path = checkpoints.write_checkpoint(tmp_path / "half.safetensors", revision, parts=("alignment", "adapter"))
    model = load_preference_model(path)
    with pytest.raises(CheckpointError, match=r"half\.safetensors has no prefdisc part \(it has: alignment, adapter\)"):
        model.require("prefdisc")


def test_a_base_that_is_not_here(whole):
    refused("needs the base model 'tests/tiny', which is not on this machine", whole)


def test_another_revision_of_the_base(tmp_path, bases):
    path = checkpoints.write_checkpoint(tmp_path / "old.safetensors", "0123", parts=("prefdisc",))
    refused("does not fit the base model 'tests/tiny' .* Revision: found .*; expected 0123", path, [bases])


def test_tokens_of_another_base(tmp_path, bases, revision):
    path = checkpoints.write_checkpoint(tmp_path / "wide.safetensors", revision, parts=("prefdisc",))
    write_part(path, "prefdisc", read_checkpoint(path).header["prefdisc"], {"tokens": torch.zeros(10, 4096)})
    refused(r"'tests/tiny' .* preference tokens: found \(10, 4096\); expected \(3, 32\)", path, [bases])


def test_a_spec_of_another_version(tmp_path, bases, revision):
    path = checkpoints.write_checkpoint(tmp_path / "odd.safetensors", revision, parts=("prefdisc",))
    header = read_checkpoint(path).header["prefdisc"]
    write_part(path, "prefdisc", header | {"surprise": 1}, {"tokens": torch.zeros(3, 32)})
    refused("unknown field 'surprise'", path, [bases])


@pytest.mark.parametrize("change", [{"surprise": 1}, {"layers": "six"}])
def test_an_alignment_of_another_version(tmp_path, revision, change):
    path = checkpoints.write_checkpoint(tmp_path / "odd.safetensors", revision, parts=("alignment",))
    whole = read_checkpoint(path)
    write_part(path, "alignment", whole.header["alignment"] | change, whole.part("alignment"))
    refused(r"odd\.safetensors has an alignment configuration that does not fit", path)


def rewritten(path, change):
    """Change the header in place, tensors as they are."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    listing = json.loads(data[8 : 8 + length])
    listing["__metadata__"]["prefgen"] = json.dumps(change(json.loads(listing["__metadata__"]["prefgen"])))
    text = json.dumps(listing).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
