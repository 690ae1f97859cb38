"""Pairs out of ratings, and which of them are chosen; ratings here are a letter for the image and a time."""

import pytest

from prefgen.errors import ProfileError
from prefgen.profile.pairing import RatedPair, SelectionConfig, derive_pairs, liked_images, select_pairs
from prefgen.profile.ratings import Rating
from tests.prefgen.profiles import DAY


def rated(text):
    """ "a+cat1 b-dog2": image a liked for the prompt cat at time 1, b disliked for dog at 2."""
    found = []
    for line, word in enumerate(text.split()):
        sign = word[1]
        prompt, time = word[2:].rstrip("0123456789"), float(word.lstrip("+-abcdefghijklmnopqrstuvwxyz") or line)
        found.append(Rating(word[0], sign == "+", prompt, time, "", line))
    return found


def pairs(text):
    return [pair.liked.image + pair.disliked.image for pair in derive_pairs(rated(text))]


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ("a+ b-", ["ab"]),
        ("a+cat1 b-dog2 c-cat9", ["ac", "ab"]),  # the same prompt before the nearer time; b is left and shares a
        ("a+cat1 b-cat2 c+cat10 d-cat11", ["ab", "cd"]),  # of one prompt, the nearest in time
        ("a+x1 b-y2 c+z10 d-w12", ["ab", "cd"]),  # no prompt in common: the nearest in time
        ("a+1 b+2 c+3 d-4", ["ad", "bd", "cd"]),  # one dislike serves all likes
        ("a+1 b-2 c-3 d-4", ["ab", "ac", "ad"]),
        ("a+ b+", []),
        ("a- b-", []),
        ("", []),
    ],
)
def test_pairs_are_of_one_prompt_first_then_near_in_time(ratings, expected):
    assert sorted(pairs(ratings)) == sorted(expected)


def test_every_rating_is_in_a_pair_and_the_oldest_come_first():
    found = derive_pairs(rated("a+x1 b-y2 c+x3 d+z4 e-x5 f-x9 g+y9 h-q9"))
    assert {image for pair in found for image in pair.images} == set("abcdefgh")
    assert [pair.time for pair in found] == sorted(pair.time for pair in found)


def spaced(count, looks=None, prompts=None, days=1.0):
    """Pairs a day apart, oldest first; `looks` are one hexadecimal digit each."""
    looks, prompts = looks or "0" * count, prompts or ["" for _ in range(count)]
    return [
        RatedPair(
            Rating(f"l{i}", True, prompts[i], i * days * DAY, looks[i] * 48, 2 * i),
            Rating(f"d{i}", False, prompts[i], i * days * DAY, looks[i] * 48, 2 * i + 1),
        )
        for i in range(count)
    ]


def chosen(found, most, rule, half_life=0.0):
    return [int(pair.liked.image[1:]) for pair in select_pairs(found, SelectionConfig(most, rule, half_life))]


def test_the_latest_are_the_newest_in_their_order():
    assert chosen(spaced(10), 3, "latest") == [7, 8, 9]
    assert chosen(spaced(2), 3, "latest") == [0, 1]


def test_diverse_pairs_look_least_alike():
    """Eight that look alike, one that differs long ago, one halfway: the newest, the farthest, then the one between."""
    found = spaced(10, looks="0f00700000")
    assert chosen(found, 3, "diverse") == [1, 4, 9]
    assert chosen(found, 1, "diverse") == [9]


def test_with_age_counting_a_far_look_of_long_ago_gives_way():
    assert chosen(spaced(10, looks="0f00000070"), 2, "diverse") == [1, 9]
    # 7 days older than the other one and twice as far: with a half-life of a day 1/128 of its weight
    assert chosen(spaced(10, looks="0f00000070"), 2, "diverse", half_life=1.0) == [8, 9]


def test_pairs_of_one_prompt_come_before_others():
    prompts = ["cat", "", "cat", "", "", ""]
    assert chosen(spaced(6, prompts=prompts), 3, "same prompt") == [0, 2, 5]


def test_with_age_counting_one_prompt_is_worth_a_half_life():
    prompts = ["cat", "", "cat", "", "", ""]
    # half-life two days: pair 2 counts as if of day 4, so that it goes with 5 and before 3; pair 0 as of day 2
    assert chosen(spaced(6, prompts=prompts), 2, "same prompt", half_life=2.0) == [4, 5]
    assert chosen(spaced(6, prompts=prompts), 3, "same prompt", half_life=2.0) == [2, 4, 5]


def test_age_is_counted_from_the_newest_rating():
    """A history must not change while nobody rates."""
    old, new = spaced(10, looks="0f00000070"), spaced(10, looks="0f00000070")
    moved = [
        RatedPair(p.liked._replace(time=p.liked.time + 9e8), p.disliked._replace(time=p.disliked.time + 9e8))
        for p in new
    ]
    assert chosen(old, 2, "diverse", 1.0) == chosen(moved, 2, "diverse", 1.0)


def test_liked_images_alone_are_chosen_alike():
    found = liked_images(rated("a+1 b+2 c+3"))
    assert [shown.images for shown in select_pairs(found, SelectionConfig(2))] == [("b",), ("c",)]
    assert len(select_pairs(found, SelectionConfig(2, "diverse"))) == 2


@pytest.mark.parametrize(
    "change", [{"max_pairs": 0}, {"rule": "best"}, {"half_life_days": -1.0}, {"half_life_days": float("nan")}]
)
def test_a_choice_of_nothing_is_refused(change):
    with pytest.raises(ProfileError, match="; expected "):
        SelectionConfig(**change)
