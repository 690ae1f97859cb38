"""Weights of the cross-attention blocks: presets and lists."""

import pytest

from prefgen.adapter.blocks import block_weights
from prefgen.errors import PrefGenError
from prefgen.pocket.shapes import SDXL_UNET, UNET

BLOCKS = [name for name, _ in SDXL_UNET.attention_blocks()]


def kept(**chosen):
    return {name for name, weight in block_weights(BLOCKS, **chosen).items() if weight}


def test_presets_are_the_layers_that_instantstyle_found():
    assert kept() == set(BLOCKS)
    assert kept(preset="style") == {f"output.1.{index}" for index in range(10)}
    assert kept(preset="composition") == {f"input.8.{index}" for index in range(10)}
    assert sum(block_weights([name for name, _ in UNET.attention_blocks()], "style").values()) == 1


def test_a_number_a_layer():
    weights = block_weights(BLOCKS, listed="0, 0.1, 0.2, 0.3, 4, 0, 1, 0, 0, 0, .5")
    assert (weights["input.4.1"], weights["input.5.0"], weights["input.8.9"]) == (0, 0.1, 0.3)
    assert (weights["middle.0.0"], weights["output.1.5"], weights["output.5.1"]) == (4, 1, 0.5)


def test_the_longest_name_counts_and_the_others_are_as_the_preset_says():
    weights = block_weights(BLOCKS, "style", "input=0.5, input.8 = 2\ninput.8.3=0")
    assert [weights[name] for name in ("input.4.0", "input.8.0", "input.8.3", "output.1.0", "output.2.0")] == [
        *(0.5, 2, 0, 1, 0)
    ]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"preset": "colour"}, "preset 'colour'.*all, style, composition"),
        ({"listed": "1, 2"}, "2 block weights for 11 layers .input.4, input.5"),
        ({"listed": "1, x"}, "expected one a layer"),
        ({"listed": "input=-1"}, "'-1' is no number from 0 to 4"),
        ({"listed": "input=nan"}, "'nan' is no number"),
        ({"listed": "input="}, "'input=' is no number"),
        ({"listed": "output.1=1, 0.5"}, "'0.5' has no name"),
        ({"listed": "=0.5"}, "'=0.5' names no block"),
        ({"listed": "input=1, input=0"}, "name 'input' 2 times"),
        ({"listed": "x" * 3000 + "=1"}, r"named 'x{60}'\.\.\.; it has"),
        ({"listed": "input=" + "9" * 3000}, r"'9{60}'\.\.\. is no number"),
        ({"listed": None}, "block_weights is None, expected text"),
        ({"listed": "input.44=1"}, "No block of this adapter is named 'input.44'"),
    ],
)
def test_choices_that_cannot_be_read(chosen, message):
    with pytest.raises(PrefGenError, match=message):
        block_weights(BLOCKS, **chosen)
