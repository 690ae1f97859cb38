"""Pick-a-Pic's rows to sets of users: shards of the real schema, every fault that the real ones have."""

import json

import pytest
from PIL import Image

from tests.train.data.pickapic_shards import jpeg, person, row, write_shards
from train.data.pickapic import PickapicConfig, SplitConfig, __main__, write_pickapic
from train.data.user_sets import SetError, read_rows

NOBODY_ELSE = SplitConfig(validation=0, test=0, seen=0)


def made(tmp_path, rows, split=NOBODY_ELSE, at_least=11, shards=2):
    """The report and the users of a set made of these rows."""
    write_shards(tmp_path / "shards", rows, shards)
    report = write_pickapic(tmp_path / "set", PickapicConfig(str(tmp_path / "shards"), at_least=at_least, split=split))
    assert not list(tmp_path.glob("*.partial"))
    assert json.loads((tmp_path / "set" / "report.json").read_text()) == report
    return report, read_rows(tmp_path / "set")


def listed(tmp_path, users):
    """The image files that the listing names, and those that lie in the set."""
    there = {str(file.relative_to(tmp_path / "set")) for file in (tmp_path / "set").rglob("*.jpg")}
    return {name for user in users for name in user.images}, there


def test_a_users_pairs_are_in_order_with_the_liked_image_first(tmp_path):
    report, (user,) = made(tmp_path, person(7, 12)[::-1])
    assert (user.user, user.seen, user.split) == ("7", True, "train")
    stems = [(pair.liked.split("/")[-1], pair.disliked.split("/")[-1], pair.prompt) for pair in user.pairs]
    assert stems == [(f"u7-{i}-yes.jpg", f"u7-{i}-no.jpg", f"prompt {i // 3}") for i in range(12)]
    assert (tmp_path / "set" / user.pairs[3].liked).read_bytes() == jpeg("u7-3-yes"), "bytes are kept as they are"
    assert report["rows"] == 12
    assert report["users"] == {"train": 1}
    assert report["pairs"] == {"train": 12}
    assert report["images"] == {"train": 24}
    assert not any(report["dropped"].values())


def test_every_fault_is_dropped_and_counted(tmp_path):
    good = person(1, 14)
    cut = jpeg("u1-12-yes")[:-200]
    good[12]["jpg_0" if good[12]["label_0"] else "jpg_1"] = cut
    good[13]["jpg_0"] = None
    faults = [
        row(1, "tie-a", "tie-b", 20, label_0=0.5, label_1=0.5, best_image_uid="tie"),
        row(1, "same", "same", 21),
        row(1, "alike-a", "alike-b", 22, are_different=False),
        row(1, "bare-a", "bare-b", 23, has_label=False, label_0=None, label_1=None),
        row(1, "odd-a", "odd-b", 24, label_0=None),
        row(1, "both-a", "both-b", 25, label_0=1.0, label_1=1.0),
        row(None, "who-a", "who-b", 26),
        row(1, "", "nameless", 27),
        good[0],
    ]
    few = person(2, 10)
    repeated = [row(3, "favourite", f"other-{i}", i) for i in range(15)]  # 15 pairs, one distinct liked image
    report, (user,) = made(tmp_path, good + faults + few + repeated)
    assert len(user.pairs) == 12
    assert report["dropped"] == {
        "ties": 3,
        "unlabelled": 4,
        "without_image_id": 1,
        "duplicates": 1,
        "broken_images": 2,
        "pairs_with_a_broken_image": 2,
        "users_under_11_liked_images": 2,
        "pairs_with_an_image_of_the_training": 0,
        "users_left_with_too_few_pairs": 0,
    }
    named, there = listed(tmp_path, [user])
    assert named == there, "the images of dropped pairs are gone too"
    for name in named:
        Image.open(tmp_path / "set" / name).load()


def test_a_user_may_fall_below_the_least_by_broken_images(tmp_path):
    rows = person(1, 11) + person(2, 11)
    rows[0]["jpg_0"] = b"not a JPEG"
    rows.append(row(1, "u1-1-yes", "another", 30))  # 11 pairs are whole, of 10 distinct liked images
    report, users = made(tmp_path, rows)
    assert [user.user for user in users] == ["2"]
    assert report["dropped"]["users_under_11_liked_images"] == 1


def test_an_image_that_is_broken_once_may_be_whole_elsewhere(tmp_path):
    rows = person(1, 12)
    rows.append(row(1, rows[0]["image_0_uid"], "another", 30))
    rows[0]["jpg_0"] = jpeg("x")[:100]
    report, (user,) = made(tmp_path, rows, shards=1)
    assert len(user.pairs) == 13
    assert report["dropped"]["broken_images"] == 0


def test_the_splits_share_neither_images_nor_strangers(tmp_path):
    rows = [each for user in range(20) for each in person(user, 15)]
    shared = SplitConfig(validation=0.15, test=0.1, seen=0.2, held_out=0.2)
    report, users = made(tmp_path, rows, shared)
    assert report["users"] == {"train": 15, "test_seen": 4, "validation": 3, "test_unseen": 2}
    by = {(user.split, user.seen): [] for user in users}
    for user in users:
        by[user.split, user.seen].append(user)
    strangers = {user.user for user in by["validation", False] + by["test", False]}
    trained = {user.user: user for user in by["train", True]}
    assert not strangers & set(trained)
    for user in by["test", True]:
        assert user.user in trained, "a seen user is one that was trained on"
        prompts = [{pair.prompt for pair in part.pairs} for part in (trained[user.user], user)]
        assert prompts == [{f"prompt {i}" for i in range(4)}, {"prompt 4"}], "the last prompts are held out, whole"
    images = [set().union(*(user.images for user in users)) for users in by.values()]
    assert len(set().union(*images)) == sum(map(len, images)), "no image is in two splits"


def test_pairs_with_an_image_of_the_training_are_not_tested_on(tmp_path):
    rows = [each for user in range(6) for each in person(user, 12)]
    rows += [row(user, "everyone-yes", f"everyone-no-{user}", 40) for user in range(6)]
    report, users = made(tmp_path, rows, SplitConfig(validation=0.3, test=0.1, seen=0))
    outside = [user for user in users if user.split != "train"]
    assert len(outside) == 3
    assert not any("everyone-yes" in name for user in outside for name in user.images)
    assert report["dropped"]["pairs_with_an_image_of_the_training"] == 3


def test_who_goes_where_depends_on_the_seed_and_not_on_the_order(tmp_path):
    rows = [each for user in range(8) for each in person(user, 11)]
    places = []
    for name, given, seed in (("a", rows, 0), ("b", rows[::-1], 0), ("c", rows, 1)):
        _, users = made(tmp_path / name, given, SplitConfig(validation=0.25, test=0.25, seen=0, seed=seed))
        places.append({user.user: user.split for user in users})
    assert places[0] == places[1] != places[2]


@pytest.mark.parametrize("when", ["choices", "images"])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch, when):
    rows = [each for user in range(4) for each in person(user, 20)]
    write_shards(tmp_path / "shards", rows)
    config = PickapicConfig(str(tmp_path / "shards"), split=NOBODY_ELSE)
    whole = write_pickapic(tmp_path / "whole", config)
    monkeypatch.setattr("train.data.pickapic.EVERY", 10)
    taken = []

    def watched(stop):
        def progress(rows, what):
            for number, each in enumerate(rows):
                if what == when and number == stop:
                    raise KeyboardInterrupt
                taken.append(what)
                yield each

        return progress

    with pytest.raises(KeyboardInterrupt):
        write_pickapic(tmp_path / "set", config, watched(35))
    assert not (tmp_path / "set").exists()
    with pytest.raises(SetError, match="The interrupted run had the settings"):
        write_pickapic(tmp_path / "set", PickapicConfig(config.source, at_least=5))
    taken.clear()
    assert write_pickapic(tmp_path / "set", config, watched(None)) == whole
    assert taken.count(when) == 50, "80 rows, of which 30 were kept"
    assert read_rows(tmp_path / "set") == read_rows(tmp_path / "whole")
    assert len(list((tmp_path / "set").rglob("*.jpg"))) == 160
    assert not list((tmp_path / "set").glob("*sqlite*"))


def test_odd_ids_stay_inside_the_set(tmp_path):
    rows = [*person(1, 12), row(1, "../../escape", "a" * 300, 30), row(1, "CON", "white space", 31)]
    _, (user,) = made(tmp_path, rows)
    assert len(user.pairs) == 14
    named, there = listed(tmp_path, [user])
    assert named == there
    assert not list(tmp_path.glob("*.jpg"))


def test_the_command_prints_the_report(tmp_path, capsys):
    write_shards(tmp_path / "shards", person(1, 3))
    arguments = ["--source", str(tmp_path / "shards"), "--out", str(tmp_path / "set"), "--at-least", "3"]
    __main__.main([*arguments, "--validation", "0", "--test", "0", "--seen", "0"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["pairs"] == {"train": 3}
    with pytest.raises(SystemExit, match="already exists"):
        __main__.main(arguments)


def test_sources_that_cannot_be_used(tmp_path):
    def refused(message, source=tmp_path, **settings):
        with pytest.raises(SetError, match=message):
            write_pickapic(tmp_path / "set", PickapicConfig(str(source), **settings))

    refused("expected Parquet shards")
    refused(r"is not a folder.*--allow-download", source="somebody/pickapic")
    write_shards(tmp_path / "few", person(1, 5))
    refused("None of 1 users has 11 distinct liked images", source=tmp_path / "few")
    (tmp_path / "set.partial" / "ledger.sqlite").unlink()
    shard = next((tmp_path / "few").iterdir())
    shard.write_bytes(shard.read_bytes()[:-40])
    refused("cannot be read", source=tmp_path / "few")


def test_other_columns_are_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"caption": ["a"], "user_id": [1]}), tmp_path / "other.parquet")
    with pytest.raises(SetError, match=r"no column are_different, .*ranking_id; expected those of Pick-a-Pic v2"):
        write_pickapic(tmp_path / "set", PickapicConfig(str(tmp_path)))


def test_shares_that_leave_nobody_are_refused():
    with pytest.raises(SetError, match="leave no user to train on"):
        SplitConfig(validation=0.6, test=0.5)
