"""Scoring by the taste head, with the mean colour of an image as its features."""

import numpy as np
import pytest
import torch
from PIL import Image

from prefgen.checkpoint.clip_vision_model import ClipPreferenceModel
from prefgen.embedding import encode_user
from prefgen.errors import HistoryError
from prefgen.history import LikedImages, NothingLiked, RatedImage, UserHistory
from prefgen.profile import Profiles, SelectionConfig, StoredImage, read_history, select_history
from prefgen.rewards import PreferenceReward
from prefgen.taste.scorer import TasteScorer

BLUE, PINK, GREEN = ((0.1, 0.2, 0.9), (0.95, 0.5, 0.7), (0.1, 0.8, 0.2))


class ColorEncoder:
    """Returns the mean color of images, and counts them."""

    def __init__(self):
        self.images = 0

    def __call__(self, images):
        self.images += len(images)
        return images.mean((-1, -2))


def image(color, seed=0, size=8):
    """Return a noisy image of one color, (3, size, size)."""
    noise = torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed))
    return (torch.tensor(color)[:, None, None] + 0.05 * noise).clamp(0, 1)


def stored(pixels):
    """Return an image as a profile stores it."""
    return StoredImage(Image.fromarray((pixels.permute(1, 2, 0).numpy() * 255).astype(np.uint8)))


def batch(color, count=4, seed=0):
    """Return images of one color, (count, 3, 8, 8)."""
    return torch.stack([image(color, seed + index) for index in range(count)])


@pytest.fixture
def encoder():
    return ColorEncoder()


@pytest.fixture
def model(encoder):
    return ClipPreferenceModel("colors", TasteScorer(encoder, torch.device("cpu")))


@pytest.mark.parametrize("prompts", [["a cat"], None], ids=["pairs of one prompt", "single ratings"])
def test_a_person_who_likes_blue_and_hates_pink_is_believed(model, prompts):
    history = UserHistory.from_images(batch(BLUE), batch(PINK, seed=9), prompts)
    taste = model.encode_history(history)
    blue, pink = (model.scorer.score(taste, batch(color, seed=50)) for color in (BLUE, PINK))
    assert blue.min() > 0.6 > 0.4 > pink.max()


def test_all_ratings_of_a_profile_count_not_only_the_selected_pairs(tmp_path, model):
    profile = Profiles(tmp_path).profile("me")
    rated = [(image(BLUE, n), True) for n in range(12)] + [(image(PINK, n), False) for n in range(12)]
    rated += [(image(GREEN, n), n < 1) for n in range(2)]
    profile.rate_all([(stored(pixels), liked) for pixels, liked in rated])
    history = read_history(profile, select_history(profile, SelectionConfig(max_pairs=1)))
    assert len(history) == 1
    taste = model.encode_history(history)
    assert taste.length == 26
    assert model.scorer.score(taste, batch(BLUE, seed=70)).min() > 0.8 > model.scorer.score(taste, batch(PINK)).max()


@pytest.mark.parametrize(("half_life_days", "liked"), [(0.0, False), (10.0, True)])
def test_a_half_life_lets_a_change_of_mind_count(model, half_life_days, liked):
    """Four pink images were disliked a hundred days ago; one is liked today."""
    ratings = [(n, image(PINK, n), False, 0.0) for n in range(4)] + [(4, image(PINK, 4), True, 100 * 86400.0)]
    history = LikedImages(
        (image(PINK, 4),),
        "me",
        tuple(
            RatedImage(str(n), is_liked, "", time, n, lambda pixels=pixels: pixels)
            for n, pixels, is_liked, time in ratings
        ),
        half_life_days,
    )
    score = model.scorer.score(model.encode_history(history), batch(PINK, 1, seed=60))
    assert bool(score > 0.5) is liked


def test_features_are_computed_once_for_each_image(model, encoder):
    pairs = UserHistory.from_images(batch(BLUE), batch(PINK, seed=9))
    model.encode_history(pairs)
    model.encode_history(pairs)
    assert encoder.images == 8
    more = UserHistory.from_images(batch(BLUE, 5), batch(PINK, 5, seed=9))
    model.encode_history(more)
    assert encoder.images == 10


def test_progress_counts_the_images_that_are_encoded(encoder):
    reports = []
    scorer = TasteScorer(encoder, torch.device("cpu"), progress=lambda total: reports.append(total) or reports.append)
    scorer.encode(UserHistory.from_images(batch(BLUE, 10), batch(PINK, 10, seed=20)))
    assert reports[0] == 20
    assert sum(reports[1:]) == 20


def test_a_reward_rises_along_its_gradient(model):
    history = UserHistory.from_images(batch(BLUE), batch(PINK, seed=9))
    reward = PreferenceReward(model.scorer, model.encode_history(history))
    pixels = batch(PINK, 1, seed=30).requires_grad_()
    (gradient,) = torch.autograd.grad(reward(pixels).sum(), pixels)
    assert reward(pixels + 0.1 * gradient.sign()) > reward(pixels)
    disliked = PreferenceReward(model.scorer, model.encode_history(history), direction="dislike")
    assert disliked(pixels).item() == pytest.approx(1 - reward(pixels).item(), abs=1e-6)


def test_the_embedding_weights_images_by_what_they_say(model):
    """Three equal blue images explain each other; the green one is a surprise, and gets more weight than each."""
    liked = torch.stack([image(BLUE, 0), image(BLUE, 1), image(BLUE, 2), image(GREEN, 0)])
    embedding = encode_user(model, UserHistory.from_images(liked, batch(PINK, seed=9)))
    assert set(embedding.vectors) == {"img", "disliked_img"}
    assert embedding.fingerprint == "CLIP image embeddings 3 wide"
    blue, green = liked[0].mean((1, 2)), liked[3].mean((1, 2))
    weight_of_green = (embedding.img - blue) @ (green - blue) / (green - blue).square().sum()
    assert 0.25 < weight_of_green < 1
    assert torch.allclose(embedding.disliked_img, torch.tensor(PINK), atol=0.1)


def test_another_image_encoder_can_give_the_embedding(model):
    history = UserHistory.from_images(batch(BLUE), batch(PINK, seed=9))
    embedding = encode_user(model, history, lambda images: torch.ones(len(images), 7))
    assert torch.allclose(embedding.img, torch.ones(7))
    assert embedding.fingerprint == "CLIP image embeddings 7 wide"


def test_likes_alone_are_a_taste_and_nothing_liked_is_an_empty_embedding(model):
    liked = LikedImages(tuple(batch(BLUE)))
    assert model.scorer.score(model.encode_history(liked), batch(BLUE, seed=40)).min() > 0.5
    assert set(encode_user(model, liked).vectors) == {"img"}
    nothing = NothingLiked("me", "Like an image.")
    assert not encode_user(model, nothing).vectors
    with pytest.raises(HistoryError, match="me has no rated images"):
        model.encode_history(nothing)


def test_held_out_images_are_predicted_by_the_others(model):
    """A wrong rating is seen through: its own evidence does not count for it."""
    images = [*batch(BLUE, 5), *batch(PINK, 5, seed=9)]
    likes = [True] * 4 + [False] + [False] * 5
    ratings = [
        RatedImage(str(n), liked, "", float(n), n, lambda pixels=pixels: pixels)
        for n, (pixels, liked) in enumerate(zip(images, likes, strict=True))
    ]
    scores = model.scorer.cross_validate(ratings)
    assert list(scores) == [rating.image for rating in ratings]
    assert scores["4"] > 0.5 > max(scores[str(n)] for n in range(5, 10))
    assert model.scorer.cross_validate(ratings[:1]) == {}
