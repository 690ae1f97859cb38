"""Messages: sentences that any log can take."""

import pytest
import torch

from prefgen.errors import MAX_LENGTH, PrefGenError, format_value


def test_half_a_character_out_of_a_file_is_shown_as_an_escape():
    assert str(PrefGenError("made by \ud800: choose another")) == "made by \\ud800: choose another"


def test_what_would_move_a_terminals_cursor_is_shown_as_an_escape():
    assert str(PrefGenError("named \x1b[2K\rfine, in café 猫:\nchoose")) == "named \\x1b[2K\\rfine, in café 猫:\nchoose"


@pytest.mark.parametrize("length", [MAX_LENGTH, MAX_LENGTH + 1, 10**6])
def test_a_name_as_long_as_a_file_is_cut_and_the_remedy_kept(length):
    message = str(PrefGenError("k" * (length - 10) + " choose it"))
    assert len(message) <= MAX_LENGTH + 5
    assert message.endswith("choose it")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.zeros(1, 64, 64, 3), "a value of type Tensor"),
        (torch.nn.Linear(4, 4), "Linear(in_features=4, out_features=4, bias=True)"),
        (torch.nn.Sequential(torch.nn.Linear(4, 4)), "a value of type Sequential"),
        (object(), "a value of type object"),
        ([torch.zeros(2, 2)], "[tensor([[0., 0.], [0., 0.]])]"),
        (["a" * 100], "['" + "a" * 58 + "..."),
        (float("nan"), "nan"),
        (10**400, "inf"),
    ],
    ids=["tensor", "layer", "layers", "object", "list of tensors", "list of texts", "nan", "large number"],
)
def test_a_value_takes_one_short_line(value, expected):
    assert format_value(value) == expected
