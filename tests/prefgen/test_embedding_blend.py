"""Mixtures of users, and the distance between two."""

import pytest
import torch

from prefgen.embedding import UserEmbedding, blend, distance, distances
from prefgen.errors import EmbeddingError


def user(seed=0, img=3, fingerprint="f", name="ada"):
    torch.manual_seed(seed)
    return UserEmbedding(torch.randn(5), torch.randn(5), torch.randn(img) if img else None, fingerprint, name)


def test_a_blend_is_the_weighted_mean_of_every_part():
    ada, bo = user(0), user(1, name="bo")
    mixed = blend([ada, bo], [3, 1])
    for part, vector in ada.vectors.items():
        assert torch.allclose(getattr(mixed, part), 0.75 * vector + 0.25 * getattr(bo, part), atol=1e-6)  # float32
    assert (mixed.name, mixed.fingerprint, mixed.disliked_img) == ("ada + bo", "f", None)


def test_a_weight_of_zero_leaves_the_other_user_as_they_are():
    ada, bo = user(0), user(1, name="bo")
    mixed = blend([ada, bo], [1, 0])
    assert all(torch.equal(getattr(mixed, part), vector) for part, vector in ada.vectors.items())
    assert mixed.name == "ada"


def test_only_the_shares_of_weights_count_however_large_they_are():
    users = [user(0), user(1, name="bo")]
    for weight in (1e308, 1e-320):
        assert torch.equal(blend(users, [weight, weight]).sem, blend(users, [1, 1]).sem)


def test_distances_run_from_none_to_opposite():
    ada, bo = user(0), user(1)
    opposite = UserEmbedding(-ada.sem, -3 * ada.core, -ada.img, "f")
    assert distance(ada, ada) == pytest.approx(0, abs=1e-6)  # float32
    assert distances(ada, opposite) == pytest.approx({"sem": 2, "core": 2, "img": 2})
    assert 0 < distance(ada, bo) < 2
    assert distance(ada, blend([ada, bo], [1, 1])) < distance(ada, bo)


def test_who_has_liked_nothing_cannot_be_mixed_or_compared():
    nobody = UserEmbedding(None, None, None, "f", "nobody")
    for users in ([user(), nobody], [nobody, user()], [nobody, nobody]):
        with pytest.raises(EmbeddingError, match=r"The embedding of 'nobody' is empty\. Like an image"):
            blend(users, [1, 1])
        with pytest.raises(EmbeddingError, match=r"The embedding of 'nobody' is empty\. Like an image"):
            distance(*users)


@pytest.mark.parametrize(
    "weights", [(0, 0), (-1, 2), (float("nan"), 1), (float("inf"), 1), (1,), (10**400, 1), ("1", 1), (None, 1)]
)
def test_weights_that_are_none(weights):
    with pytest.raises(EmbeddingError, match=r"[Ww]eight"):
        blend([user(0), user(1)], weights)


def test_users_that_cannot_be_compared():
    with pytest.raises(EmbeddingError, match=r"'ada' \(.*\) and 'bo' \(.*\) were encoded by different"):
        blend([user(), user(fingerprint="g", name="bo")], (1, 1))
    with pytest.raises(EmbeddingError, match=r"The parts are \{'sem': 5, 'core': 5, 'img': 3} and \{'sem': 5"):
        distance(user(), user(img=0, name="bo"))


def test_who_is_not_known_to_have_disliked_nothing_is_not_said_to():
    ada, bo = user(), user(name="bo")
    whole = UserEmbedding(ada.sem, ada.core, ada.img, "f", "ada", ada.img)
    for other in (bo, user(img=0, name="bo")):
        with pytest.raises(
            EmbeddingError, match=r"expected equal parts\. Encode both histories with the same image encoder"
        ):
            blend([whole, other], (1, 1))


def test_who_has_disliked_nothing_is_named():
    """Of such a person only `img` is known, by whatever image tower."""
    bo = UserEmbedding(None, None, user().img, "f", "bo")
    with pytest.raises(EmbeddingError, match="'bo' has not disliked an image; dislike one"):
        blend([user(), bo], (1, 1))
