"""User embeddings on disk: what comes back, and what is refused by name."""

import pytest
import torch
from safetensors.torch import save_file

from prefgen.embedding import UserEmbedding, load_embedding, save_embedding
from prefgen.errors import EmbeddingError
from prefgen.safefile import fingerprint, write_safefile


@pytest.fixture
def ada():
    torch.manual_seed(0)
    return UserEmbedding(torch.randn(5), torch.randn(5), torch.randn(3), "f" * 64, "ada", made_by="tiny.safetensors")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ada.safetensors"


def test_what_was_saved_comes_back(ada, path):
    back = load_embedding(save_embedding(path, ada))
    assert all(torch.equal(getattr(back, part), vector) for part, vector in ada.vectors.items())
    assert back.disliked_img is None
    assert (back.fingerprint, back.name, back.made_by) == (ada.fingerprint, ada.name, ada.made_by)


def refused(path, message):
    with pytest.raises(EmbeddingError, match=message):
        load_embedding(path)


def test_a_file_that_is_cut_short_or_changed(ada, path):
    save_embedding(path, ada)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    refused(path, r"ada\.safetensors is not a complete")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(path, r"ada\.safetensors does not match its fingerprint")


def test_files_of_other_kinds(path):
    save_file({"sem": torch.zeros(3)}, path)
    refused(path, "has no PrefGen header; expected a PrefGen user embedding")
    write_safefile(path, "preference checkpoint", {}, {"adapter.x": torch.zeros(1)})
    refused(path, "is a PrefGen 'preference checkpoint'; expected a PrefGen 'user embedding'")
    write_safefile(path, "user embedding", {}, {"taste": torch.zeros(1)})
    refused(path, r"has parts \['taste'\]; expected some of sem, core, img")
    refused(path.with_name("none.safetensors"), "could not be read")


@pytest.mark.parametrize("dtype", [torch.float4_e2m1fn_x2, torch.complex64, torch.int64], ids=str)
def test_a_part_of_another_type_is_refused(path, dtype):
    sem = torch.zeros(8, dtype=torch.uint8).view(dtype) if dtype.itemsize == 1 else torch.zeros(8, dtype=dtype)
    header = {"user": "eve", "reading": "f" * 64}
    write_safefile(path, "user embedding", header | {"fingerprint": fingerprint(header, {"sem": sem})}, {"sem": sem})
    refused(path, r"ada\.safetensors has (sem as torch\.\w+; expected torch\.float32|a tensor that cannot be read)")


def test_numbers_that_no_reader_gives_are_refused(ada, path):
    object.__setattr__(ada, "img", torch.full((3,), 1e30))
    save_embedding(path, ada)
    refused(path, r"img of 'ada' has shape .3,. and values up to 1e\+30; expected")


def test_nan_in_a_file(ada, path):
    save_embedding(path, ada)
    object.__setattr__(ada, "sem", torch.full((5,), float("nan")))
    save_embedding(path, ada)
    refused(path, "sem of 'ada'.*values up to nan")


def test_a_file_with_the_old_header_still_loads(ada, path):
    header = {"user": "ada", "reading": "f" * 64, "made_by": "tiny.safetensors"}
    write_safefile(path, "user embedding", header | {"fingerprint": fingerprint(header, ada.vectors)}, ada.vectors)
    assert load_embedding(path).fingerprint == "f" * 64
