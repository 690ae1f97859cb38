import pytest
import torch

from prefgen.prefdisc.packing import Target, pack
from prefgen.prefdisc.template import Turns
from tests.prefgen import tiny


@pytest.fixture(scope="module")
def turns():
    return Turns(tiny.SPEC, tiny.tokenizer())


def test_a_target_sees_its_own_history_and_itself(turns):
    packed = pack(turns, [["a", "a"]], [[Target(1, "a"), Target(0, "a")]])
    turn, opened, tokens = len(turns.rated("a", True)), len(turns.open("a")), tiny.SPEC.num_tokens
    seen = packed.mask[0, 0] == 0
    first = seen[packed.reads[0, 0, 0]].nonzero()[:, 0].tolist()
    end_of_history = tokens + 4 * turn
    assert first == [*range(tokens + 2 * turn), *range(end_of_history, end_of_history + opened)]
    alone = seen[packed.reads[0, 1, 1]].nonzero()[:, 0].tolist()
    assert alone == [*range(tokens), *range(end_of_history + 3 * opened, end_of_history + 4 * opened)]
    assert packed.positions[0, packed.reads[0, 0]].tolist() == [tokens + 2 * turn + opened - 1] * 2
    assert packed.positions[0, packed.reads[0, 1]].tolist() == [tokens + opened - 1] * 2


def test_users_of_one_shape_share_a_mask_and_others_do_not(turns):
    targets = [[Target(1, "a")]] * 2
    assert len(pack(turns, [["a"], ["dog"]], targets).mask) == 1
    uneven = pack(turns, [["a"], ["a red dog"]], targets)
    assert len(uneven.mask) == 2
    padding = uneven.positions.shape[1] - 1
    assert (uneven.mask[0, 0, :, padding] == 0).nonzero()[:, 0].tolist()[-1] == padding
    assert not (uneven.mask[0, 0, : uneven.reads.max() + 1, padding] == 0)[: uneven.reads[0].max() + 1].any()


def test_a_target_after_more_than_there_is_is_refused(turns):
    with pytest.raises(ValueError, match="after 2 pairs of a history of 1"):
        pack(turns, [["a"]], [[Target(2, "a")]])


def test_the_mask_lets_nothing_see_ahead(turns):
    packed = pack(turns, [["a", "a cat"]], [[Target(2, "dog"), Target(1, "")]])
    assert (packed.mask[0, 0].triu(1) < 0)[torch.ones_like(packed.mask[0, 0]).triu(1).bool()].all()


def test_users_with_fewer_pairs_and_targets_are_marked(turns):
    packed = pack(turns, [["a", "a cat"], [], ["dog"]], [[Target(2, "a")], [Target(0, ""), Target(0, "a cat")], []])
    assert packed.told.tolist() == [[True, True], [False, False], [True, False]]
    assert packed.judged.tolist() == [[True, False], [True, True], [False, False]]
    assert packed.marks.shape == (*packed.told.shape, 2)
    assert packed.reads.shape == (*packed.judged.shape, 2)
    assert not packed.marks[~packed.told].any()
    assert not packed.reads[~packed.judged].any()
    assert packed.images == 6
    moved = packed.to("cpu")
    assert torch.equal(moved.told, packed.told)
