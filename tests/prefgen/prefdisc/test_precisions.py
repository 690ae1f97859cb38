"""A base in 4 and 8 bits, what it takes, and what is told while it is read."""

import copy
import importlib.util
import sys

import pytest
import torch

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.errors import CheckpointError
from prefgen.prefdisc.base import quantization
from prefgen.prefdisc.base.locate import BaseLoadOptions, locate_base
from tests.prefgen import tiny
from tests.prefgen.prefdisc.base.test_locate import ID, IMAGES, write_folder, write_lora

QUANTIZED = ("nf4", "int8")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is optional, and not made for this machine"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    bases = tmp_path_factory.mktemp("bases")
    write_folder(bases / ID, shard="60KB", config=tiny.BROAD)
    return bases


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    trained = write_lora(path, config=tiny.BROAD)
    return path, trained


def loaded(checkpoint, folder, quantize, dtype=torch.float32):
    return load_preference_model(
        checkpoint[0], base_folders=[folder], base_options=lambda _: BaseLoadOptions(dtype, quantize)
    )


def margins(prefdisc, prefix):
    with torch.no_grad():
        return prefdisc.logits(prefix, IMAGES, "a cat").diff(dim=-1).flatten()


@needs_bitsandbytes
def test_four_bits_score_as_their_own_weights_written_out(folder, checkpoint):
    whole, made = loaded(checkpoint, folder, "none"), loaded(checkpoint, folder, "nf4")
    from bitsandbytes.functional import dequantize_4bit

    written = copy.deepcopy(whole.prefdisc)
    layers = dict(written.base.named_modules())
    merged = 0
    for name, layer in made.prefdisc.base.named_modules():
        weight = getattr(layer, "weight", None)
        if getattr(weight, "quant_state", None) is None or "base_layer" in name:
            continue
        full = dequantize_4bit(weight.data, weight.quant_state)
        if hasattr(layer, "get_delta_weight"):
            full = full + layer.get_delta_weight("default")
            merged += 1
        layers[name].weight.data = full
    assert merged, "the LoRA is not rounded into four bits"
    history = tiny.history(2)
    found = margins(made.prefdisc, made.encode_history(history))
    expected = margins(written, written.encode(history))
    # float32, the LoRA added in another order
    assert torch.allclose(found, expected, atol=1e-3)
    assert (found - margins(whole.prefdisc, whole.encode_history(history))).abs().max() > 0.01, (
        "four bits are four bits"
    )


@needs_bitsandbytes
def test_eight_bits_score_nearly_as_the_whole_base(folder, checkpoint):
    history = tiny.history(2)
    whole, made = loaded(checkpoint, folder, "none"), loaded(checkpoint, folder, "int8")
    expected, found = (margins(model.prefdisc, model.encode_history(history)) for model in (whole, made))
    # Weights and activations are rounded to 1/254 of the largest of a row, through eight layers of weights that are few
    # and six times the usual; other scales, or another layer's, would be off by more than the whole.
    assert 0 < (found - expected).abs().max() < 0.3 * expected.abs().max()
    assert quantization.is_quantized(made.prefdisc)
    assert not quantization.is_quantized(whole.prefdisc)
    assert [name for name, _ in made.named_modules() if "lora" in name], "it is not rounded into few bits"
    assert not [name for name, _ in whole.named_modules() if "lora" in name]


@needs_bitsandbytes
@pytest.mark.parametrize("quantize", QUANTIZED)
def test_what_it_takes_is_known_from_the_headers(folder, quantize):
    place = locate_base(ID, [folder])
    for dtype, kind in ((torch.float32, "none"), (torch.bfloat16, "none"), (torch.bfloat16, quantize)):
        model = place.load(BaseLoadOptions(dtype, kind)).model
        found = sum(parameter.nbytes for parameter in model.parameters())
        for parameter in model.parameters():
            state = getattr(parameter, "quant_state", None)
            found += 0 if state is None else state.absmax.nbytes
        assert place.bytes_needed(dtype, kind) == found


@needs_bitsandbytes
@pytest.mark.parametrize("quantize", QUANTIZED)
def test_it_still_scores_after_it_was_moved(folder, checkpoint, quantize):
    """Module.to moves an 8-bit layer's weight and forgets its scales; on the way out and in they are put right."""
    model = loaded(checkpoint, folder, quantize)
    prefix = model.encode_history(tiny.history(2))
    before = margins(model.prefdisc, prefix)
    for _ in range(2):
        model.to("cpu")
        quantization.restore_int8_scales(model)
        assert torch.equal(margins(model.prefdisc, prefix), before)


@needs_bitsandbytes
@pytest.mark.parametrize("quantize", QUANTIZED)
def test_the_gradient_reaches_the_pixels(folder, checkpoint, quantize):
    model = loaded(checkpoint, folder, quantize)
    images = IMAGES.clone().requires_grad_()
    model.prefdisc.logits(model.encode_history(tiny.history(1)), images, "a cat").sum().backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad.abs().max() > 0


@pytest.mark.parametrize("quantize", QUANTIZED)
def test_without_bitsandbytes_it_says_so(folder, checkpoint, quantize, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(CheckpointError, match="needs the package bitsandbytes, which does not load here"):
        loaded(checkpoint, folder, quantize)
    assert loaded(checkpoint, folder, "none").prefdisc is not None, "what needs no bitsandbytes still loads"


def test_reading_tells_how_far_it_is_and_can_be_stopped(folder, checkpoint):
    told = []

    class Stopped(BaseException):
        pass

    def stop(done, total):
        raise Stopped

    def reading(progress):
        return lambda place: BaseLoadOptions(progress=progress)

    load_preference_model(
        checkpoint[0], base_folders=[folder], base_options=reading(lambda done, total: told.append((done, total)))
    )
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 50, "every tensor counts"
    with pytest.raises(Stopped):
        load_preference_model(checkpoint[0], base_folders=[folder], base_options=reading(stop))
    quiet = list(told)
    load_preference_model(checkpoint[0], base_folders=[folder])
    assert told == quiet, "nobody is told of another reading"
