import pytest
import torch

from prefgen.checkpoint.convert.layouts import LAYOUTS
from prefgen.prefdisc.packing import Target, pack
from prefgen.prefdisc.template import ChatTemplate
from tests.prefgen import mistral, tiny


@pytest.fixture(scope="module")
def template():
    return ChatTemplate(tiny.SPEC, tiny.tokenizer())


def test_a_target_sees_its_own_history_and_itself(template):
    packed = pack(template, [["a", "a"]], [[Target(1, "a"), Target(0, "a")]])
    turn, opened, tokens = (
        len(template.labelled_turn("a", True)),
        len(template.unlabelled_turn("a")),
        tiny.SPEC.num_tokens,
    )
    seen = packed.mask[0, 0] == 0
    first = seen[packed.prediction_positions[0, 0, 0]].nonzero()[:, 0].tolist()
    end_of_history = tokens + 4 * turn
    assert first == [*range(tokens + 2 * turn), *range(end_of_history, end_of_history + opened)]
    alone = seen[packed.prediction_positions[0, 1, 1]].nonzero()[:, 0].tolist()
    assert alone == [*range(tokens), *range(end_of_history + 3 * opened, end_of_history + 4 * opened)]
    assert packed.positions[0, packed.prediction_positions[0, 0]].tolist() == [tokens + 2 * turn + opened - 1] * 2
    assert packed.positions[0, packed.prediction_positions[0, 1]].tolist() == [tokens + opened - 1] * 2


def test_users_of_one_shape_share_a_mask_and_others_do_not(template):
    targets = [[Target(1, "a")]] * 2
    assert len(pack(template, [["a"], ["dog"]], targets).mask) == 1
    uneven = pack(template, [["a"], ["a red dog"]], targets)
    assert len(uneven.mask) == 2
    padding = uneven.positions.shape[1] - 1
    assert (uneven.mask[0, 0, :, padding] == 0).nonzero()[:, 0].tolist()[-1] == padding
    assert not (uneven.mask[0, 0, : uneven.prediction_positions.max() + 1, padding] == 0)[
        : uneven.prediction_positions[0].max() + 1
    ].any()


def test_a_target_after_more_than_there_is_is_refused(template):
    with pytest.raises(ValueError, match=r"target\.num_pairs is 2; expected"):
        pack(template, [["a"]], [[Target(2, "a")]])


def test_the_mask_lets_nothing_see_ahead(template):
    packed = pack(template, [["a", "a cat"]], [[Target(2, "dog"), Target(1, "")]])
    assert (packed.mask[0, 0].triu(1) < 0)[torch.ones_like(packed.mask[0, 0]).triu(1).bool()].all()


def test_users_with_fewer_pairs_and_targets_are_marked(template):
    packed = pack(template, [["a", "a cat"], [], ["dog"]], [[Target(2, "a")], [Target(0, ""), Target(0, "a cat")], []])
    assert packed.has_pair.tolist() == [[True, True], [False, False], [True, False]]
    assert packed.has_target.tolist() == [[True, False], [True, True], [False, False]]
    assert packed.label_positions.shape == (*packed.has_pair.shape, 2)
    assert packed.prediction_positions.shape == (*packed.has_target.shape, 2)
    assert not packed.label_positions[~packed.has_pair].any()
    assert not packed.prediction_positions[~packed.has_target].any()
    assert packed.num_images == 6
    moved = packed.to("cpu")
    assert torch.equal(moved.has_pair, packed.has_pair)


def test_turns_are_those_of_one_text():
    """With Idefics2's vocabulary, the first turn starts with another token than those after it."""
    template = ChatTemplate(LAYOUTS["viper"].spec, mistral.tokenizer())
    packed = pack(template, [["", ""]], [[Target(2, ""), Target(0, "")]])
    starts = [token for token in packed.ids[0].tolist() if token in (1247, 730)]
    # Two pairs, the two images of the first target after them, and those of the second without a history.
    assert starts == [1247, 730, 730, 730, 730, 730, 1247, 1247]
