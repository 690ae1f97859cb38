import pytest
import torch

from prefgen.checkpoint.file import Checkpoint
from prefgen.checkpoint.preference_model import PreferenceModel
from prefgen.embedding import UserEmbedding, encode_user
from prefgen.errors import CheckpointError, EmbeddingError, HistoryError
from prefgen.history import LikedImages, NothingLiked
from tests.prefgen import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    return PreferenceModel(Checkpoint({"prefdisc": {}}, {}, path, "f" * 64), prefdisc=tiny.prefdisc())


def embed(images):
    return images.flatten(2).mean(-1) * 7


def test_the_parts_are_means_over_their_layers_and_images(model):
    history = tiny.history(3)
    embedding = encode_user(model, history, embed)
    hidden = model.prefdisc.encode(history).hidden
    assert torch.allclose(embedding.sem, hidden[[3, 4]].mean(0))
    assert torch.allclose(embedding.core, hidden[[1, 2]].mean(0))
    liked = torch.stack([pair.liked for pair in history.pairs]).flatten(2).mean(-1)
    assert torch.allclose(embedding.img, torch.nn.functional.normalize(liked, dim=-1).mean(0), atol=1e-6)
    assert (embedding.fingerprint, embedding.name) == (model.encoder_fingerprint, "tiny")


def test_without_an_image_tower_there_is_no_img(model):
    assert encode_user(model, tiny.history()).img is None


def test_nothing_liked_gives_no_part_and_no_tower_is_asked_for(model):
    nobody = NothingLiked("nobody", "Nothing is rated: like an image.")
    for tower in (embed, None):
        embedding = encode_user(model, nobody, tower)
        assert (embedding.vectors, embedding.name) == ({}, "nobody")
        embedding.require_from(model)
    with pytest.raises(HistoryError, match="Nothing is rated: like an image"):
        model.encode_history(nobody)


def test_liked_images_alone_give_img_alone(model):
    """The same `img` as a history's with these liked images, and nothing that only pairs can tell."""
    history = tiny.history(3)
    alone = LikedImages(tuple(pair.liked for pair in history.pairs), "ada")
    embedding = encode_user(model, alone, embed)
    assert list(embedding.vectors) == ["img"]
    assert torch.equal(embedding.img, encode_user(model, history, embed).img)
    embedding.require_from(model)
    with pytest.raises(EmbeddingError, match=r"has no CLIP image encoder.*'ada'. Connect a CLIP_VISION, or dislike"):
        encode_user(model, alone)
    with pytest.raises(HistoryError, match="Dislike at least one image"):
        model.encode_history(alone)


def test_made_in_inference_mode_it_serves_training(model):
    with torch.inference_mode():
        embedding = encode_user(model, tiny.history(), embed)
    linear = torch.nn.Linear(tiny.WIDTH, 2)
    linear(embedding.sem).sum().backward()
    assert not embedding.img.is_inference()


def test_images_of_several_sizes(model):
    pairs = tiny.history(1).pairs + tiny.history(1, size=18).pairs
    assert encode_user(model, type(tiny.history(1))(pairs), embed).img.shape == (3,)


def test_another_checkpoints_embedding_is_refused_by_name(model):
    foreign = UserEmbedding(torch.zeros(4), None, None, "a" * 64, "ada", made_by="old.st")
    with pytest.raises(EmbeddingError, match=r"'ada' was encoded by another .*old\.st.*a{12}\); expected tiny\.safet"):
        foreign.require_from(model)
    encode_user(model, tiny.history()).require_from(model)


def test_a_history_that_was_scored_with_is_not_read_again(model, monkeypatch):
    history = tiny.history(2, seed=7)
    model.prefdisc.score(model.encode_history(history), torch.rand(1, 3, 24, 24))
    monkeypatch.setattr(model.prefdisc, "encode", None)  # called again, it would fail
    assert torch.isfinite(encode_user(model, history).sem).all()


def test_a_model_without_prefdisc_is_refused(model):
    empty = PreferenceModel(Checkpoint({"adapter": {}}, {}, model.checkpoint.path, ""))
    with pytest.raises(CheckpointError, match="has no prefdisc part"):
        encode_user(empty, tiny.history())


def test_nan_is_refused():
    with pytest.raises(EmbeddingError, match="values up to nan"):
        UserEmbedding(torch.tensor([float("nan")]), None, None, "")
