"""Users on disk, and the trials that are drawn from them."""

import json
import pickle

import pytest

from prefgen.errors import HistoryError
from tests.train.prefdisc.sets import PROMPTS, write_users
from train.prefdisc.config import DataConfig
from train.prefdisc.dataset import check_disjoint, read_users
from train.prefdisc.trials import Trials


@pytest.fixture
def folder(tmp_path):
    return write_users(tmp_path, train=3, validation=2, pairs=5, size=4)


def trials(folder, count=15, seed=0, prompts=True, **data):
    return Trials(read_users(folder, "train"), DataConfig(str(folder), **{"history": 3, **data}), count, seed, prompts)


def rewrite(folder, change, line=0):
    """Change one line of the listing: a function from its JSON value to another, or to text."""
    rows = (folder / "users.jsonl").read_text().splitlines()
    changed = change(json.loads(rows[line]))
    rows[line] = changed if isinstance(changed, str) else json.dumps(changed)
    (folder / "users.jsonl").write_text("\n".join(rows))


def test_users_are_read_by_split(folder):
    train, validation = read_users(folder, "train"), read_users(folder, "validation")
    assert [user.user for user in train] == ["u0", "u1", "u2"]
    assert [user.seen for user in validation] == [False, False]
    assert [pair.prompt for pair in train[0].pairs[:3]] == list(PROMPTS)
    assert train[0].pairs[0].liked.is_file()
    check_disjoint(train, validation)


def test_a_seen_user_is_measured_on_other_images(folder):
    listing = folder / "users.jsonl"
    row = json.loads(listing.read_text().splitlines()[0])
    kept = row | {"split": "validation", "pairs": row["pairs"][3:]}
    rewrite(folder, lambda row: row | {"pairs": row["pairs"][:3]})
    listing.write_text(listing.read_text() + "\n" + json.dumps(kept))
    check_disjoint(read_users(folder, "train"), read_users(folder, "validation"))
    rewrite(folder, lambda _: row)
    with pytest.raises(HistoryError, match=r"User 'u0' has 4 images in both split 'train' and 'validation'"):
        check_disjoint(read_users(folder, "train"), read_users(folder, "validation"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: "{", "line 1 is not a valid user"),
        (lambda row: row | {"split": "tests"}, "line 1 is not a valid user.*split is 'tests'"),
        (lambda row: {"user": "u0"}, "line 1 is not a valid user"),
        (lambda row: row | {"pairs": [{"liked": "../x.png", "disliked": "y.png"}]}, r"line 1.*'../x.png'.*outside"),
        (lambda row: row | {"pairs": [{"liked": "/etc/x.png", "disliked": "y.png"}]}, "outside the dataset folder"),
    ],
)
def test_a_broken_listing_says_where(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(HistoryError, match=message):
        read_users(folder, "train")


def test_a_set_without_such_users_is_refused(folder, tmp_path):
    with pytest.raises(HistoryError, match="no user with at least 2 pairs in split 'test'"):
        read_users(folder, "test")
    with pytest.raises(HistoryError, match="at least 6 pairs"):
        read_users(folder, "train", at_least=6)
    with pytest.raises(HistoryError, match="cannot be read"):
        read_users(tmp_path / "nowhere", "train")


def test_every_pair_is_the_target_once_an_epoch(folder):
    drawn = list(trials(folder, 30))
    for epoch in (drawn[:15], drawn[15:]):
        assert len({(trial.user, trial.target) for trial in epoch}) == 15
    assert [t.target for t in drawn[:15]] != [t.target for t in drawn[15:]], "in another order"


def test_a_history_is_the_users_own_and_without_the_target(folder):
    own = {user.user: set(user.pairs) for user in read_users(folder, "train")}
    for trial in trials(folder):
        assert len(set(trial.history)) == 3
        assert set(trial.history) <= own[trial.user] - {trial.target}


def test_a_history_does_not_show_the_targets_images(folder):
    """In Pick-a-Pic the winner of one pair is often in the next: its label would give the answer away."""

    def winner_stays(row):
        row["pairs"][1]["liked"] = row["pairs"][0]["liked"]
        return row

    rewrite(folder, winner_stays)
    for trial in trials(folder):
        shown = {file for pair in trial.history for file in pair.images}
        assert not shown & set(trial.target.images)


def test_the_order_is_shuffled_anew(folder):
    drawn = list(trials(folder, 300))
    same = [t.history for t in drawn if t.target == drawn[0].target]
    assert len({tuple(history) for history in same}) > 10, "of 20 draws, of 24 ordered choices"


def test_a_trial_depends_on_its_number_alone(folder):
    one, other = trials(folder), trials(folder, 600)
    assert list(one) == list(other)[:15]
    assert pickle.loads(pickle.dumps(one))[7] == one[7], "a loader's worker draws the same"  # noqa: S301 (our own)
    assert list(one) != list(trials(folder, seed=1))
    with pytest.raises(IndexError):
        one[15]


def test_random_lengths_go_from_none_to_all(folder):
    lengths = {len(trial.history) for trial in trials(folder, 60, random_length=True)}
    assert lengths == {0, 1, 2, 3}


def test_prompts_can_be_left_out(folder):
    assert {t.target.prompt for t in trials(folder)} == set(PROMPTS)
    assert {p.prompt for t in trials(folder, prompts=False) for p in (t.target, *t.history)} == {""}
