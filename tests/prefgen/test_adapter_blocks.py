"""Weights of the cross-attention blocks: presets and lists."""

import pytest

from prefgen.adapter.blocks import parse_block_weights
from prefgen.errors import PrefGenError
from prefgen.pocket.shapes import SDXL_UNET, UNET

BLOCKS = [name for name, _ in SDXL_UNET.attention_blocks()]


def kept(**chosen):
    return {name for name, weight in parse_block_weights(BLOCKS, **chosen).items() if weight}


def test_presets_are_the_layers_that_instantstyle_found():
    assert kept() == set(BLOCKS)
    assert kept(preset="style") == {f"output.1.{index}" for index in range(10)}
    assert kept(preset="composition") == {f"input.8.{index}" for index in range(10)}
    assert sum(parse_block_weights([name for name, _ in UNET.attention_blocks()], "style").values()) == 1


def test_a_number_a_layer():
    weights = parse_block_weights(BLOCKS, text="0, 0.1, 0.2, 0.3, 4, 0, 1, 0, 0, 0, .5")
    assert (weights["input.4.1"], weights["input.5.0"], weights["input.8.9"]) == (0, 0.1, 0.3)
    assert (weights["middle.0.0"], weights["output.1.5"], weights["output.5.1"]) == (4, 1, 0.5)


def test_the_longest_name_counts_and_the_others_are_as_the_preset_says():
    weights = parse_block_weights(BLOCKS, "style", "input=0.5, input.8 = 2\ninput.8.3=0")
    assert [weights[name] for name in ("input.4.0", "input.8.0", "input.8.3", "output.1.0", "output.2.0")] == [
        *(0.5, 2, 0, 1, 0)
    ]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"preset": "colour"}, "blocks is 'colour'; expected one of all, style, composition"),
        ({"text": "1, 2"}, "has 2 numbers; expected 11, one for each layer"),
        ({"text": "1, x"}, "has 'x'; expected weight with a weight from 0 to 4"),
        ({"text": "input=-1"}, "has 'input=-1'; expected name=weight with a weight from 0 to 4"),
        ({"text": "input=nan"}, "has 'input=nan'; expected"),
        ({"text": "input="}, "has 'input='; expected name=weight"),
        ({"text": "output.1=1, 0.5"}, "has '0.5'; expected name=weight"),
        ({"text": "=0.5"}, "has '=0.5'; expected name=weight"),
        ({"text": "input=1, input=0"}, "has 'input' more than once"),
        ({"text": "x" * 3000 + "=1"}, r"has 'x{60}'\.\.\.; expected blocks of input"),
        ({"text": "input=" + "9" * 3000}, r"has 'input=9{54}'\.\.\.; expected"),
        ({"text": None}, "block_weights is None; expected text"),
        ({"text": "input.44=1"}, "has 'input.44'; expected blocks of input.4.0"),
    ],
)
def test_choices_that_cannot_be_read(chosen, message):
    with pytest.raises(PrefGenError, match=message):
        parse_block_weights(BLOCKS, **chosen)
