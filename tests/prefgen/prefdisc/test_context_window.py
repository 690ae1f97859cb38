"""Histories longer than the base's context: the newest pairs that fit are read, and it is said."""

import copy
import logging

import pytest
import torch

from prefgen.errors import HistoryError
from prefgen.history import UserHistory
from prefgen.prefdisc.base.base_model import build_base
from prefgen.prefdisc.context_window import max_positions
from prefgen.prefdisc.model import PrefDisc
from tests.prefgen import tiny

TURN = 8  # tokens of a whole turn with the prompt "a cat"; its open form has 6, and 11 with the longest prompt


def model_of(**text_config):
    torch.manual_seed(0)
    config = copy.deepcopy(tiny.CONFIG)
    config["text_config"] |= text_config
    model = PrefDisc(build_base(config), tiny.tokenizer(), tiny.SPEC).requires_grad_(False).eval()
    model.base.load_state_dict(tiny.prefdisc().base.state_dict())
    return model


def room_for(pairs):
    return tiny.SPEC.num_tokens + pairs * 2 * TURN + 4 + tiny.SPEC.max_prompt_tokens


@pytest.mark.parametrize("limit", ["max_position_embeddings", "sliding_window"])
def test_the_newest_pairs_that_fit_are_read(caplog, limit):
    history = tiny.history(5, prompts=["a cat"] * 5)
    model = model_of(**{limit: room_for(2) + 1})
    assert max_positions(model.base.config.text_config) == room_for(2) + 1
    with caplog.at_level(logging.WARNING):
        prefix = model.encode(history)
    assert "'tiny' has 5 pairs; the newest 2 fit into the base model's context" in caplog.text
    newest = model.encode(UserHistory(history.pairs[-2:]))
    assert prefix.length == newest.length == tiny.SPEC.num_tokens + 4 * TURN
    image = torch.rand(1, 3, 24, 24)
    assert torch.equal(model.logits(prefix, image), model.logits(newest, image))
    # The longest prompt fits behind it too.
    assert torch.isfinite(model.logits(prefix, image, "the red house on a dog")).all()


def test_a_history_that_fits_is_read_whole_and_nothing_is_said(caplog):
    history = tiny.history(5, prompts=["a cat"] * 5)
    with caplog.at_level(logging.WARNING):
        assert model_of(max_position_embeddings=room_for(5)).encode(history).length == tiny.SPEC.num_tokens + 10 * TURN
    assert not caplog.text


def test_not_even_one_pair(caplog):
    with pytest.raises(HistoryError, match=r"newest pair of 'tiny' does not fit into the base model's context of 26"):
        model_of(max_position_embeddings=26).encode(tiny.history(1))
