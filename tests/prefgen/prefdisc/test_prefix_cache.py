"""Encoded histories kept by digest."""

import pytest
import torch

from prefgen.checkpoint.preference_model import POCKET, load_preference_model
from prefgen.embedding import encode_user
from prefgen.prefdisc.prefix import HistoryPrefix
from prefgen.prefdisc.prefix_cache import PrefixCache
from tests.prefgen import tiny

CPU = torch.device("cpu")


def prefix(values=1):
    made = torch.zeros(1, 1, values, 1)
    return HistoryPrefix(((made, made),), torch.zeros(1, 1), values)


def fill(kept, *keys, values=1):
    """Ask for these in turn; return those that had to be read."""
    read = []
    for key in keys:
        kept.get(key, CPU, lambda key=key: read.append(key) or prefix(values))
    return read


def test_the_least_recently_used_goes_first():
    kept = PrefixCache(max_entries=2)
    assert fill(kept, "a", "b", "a", "c", "a", "b") == ["a", "b", "c", "b"]
    assert len(kept) == 2


def test_their_bytes_are_bounded_and_the_newest_stays():
    kept = PrefixCache(max_bytes=100)
    assert fill(kept, "a", "b", "c", values=6) == ["a", "b", "c"]  # 48 bytes each
    assert len(kept) == 2
    assert fill(kept, "huge", "huge", values=1000) == ["huge"]
    assert len(kept) == 1


def test_they_come_back_on_the_device_that_asks():
    kept = PrefixCache()
    made = kept.get("a", CPU, prefix)
    assert kept.get("a", CPU, prefix) is made
    assert kept.get("a", torch.device("meta"), prefix).keys_values[0][0].device.type == "meta"


@pytest.fixture
def model(monkeypatch):
    """The bundled model, with a list of the histories that its PrefDisc encodes."""
    made = load_preference_model(POCKET)
    encoded = []
    real = made.prefdisc.encode
    monkeypatch.setattr(made.prefdisc, "encode", lambda history: encoded.append(history.digest) or real(history))
    return made, encoded


def test_a_model_reads_a_history_once(model):
    model, encoded = model
    history, again = tiny.history(2), tiny.history(2)
    first = model.encode_history(history)
    assert torch.equal(model.encode_history(again).hidden, first.hidden)
    encode_user(model, tiny.history(2))
    assert encoded == [history.digest]
    model.encode_history(tiny.history(2, seed=1))
    assert len(encoded) == 2


def test_a_model_that_changed_its_type_reads_again(model):
    """Weights may move and be cast between two prompts; a prefix of another type would not fit them."""
    model, encoded = model
    history = tiny.history(2)
    model.encode_history(history)
    model.prefdisc.to(torch.bfloat16)
    half = model.encode_history(history)
    assert half.hidden.dtype == torch.bfloat16
    assert torch.isfinite(model.prefdisc.score(half, torch.rand(2, 3, 96, 96)).float()).all()
    model.prefdisc.to(torch.float32)
    assert model.encode_history(history).hidden.dtype == torch.float32
    assert len(encoded) == 2


def test_a_prefix_kept_in_inference_mode_serves_a_gradient(model):
    model, _ = model
    with torch.inference_mode():
        model.encode_history(tiny.history(2))
    image = torch.rand(1, 3, 96, 96, requires_grad=True)
    model.prefdisc.score(model.encode_history(tiny.history(2)), image).sum().backward()
    assert image.grad.abs().sum() > 0
