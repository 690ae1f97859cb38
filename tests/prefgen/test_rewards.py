"""Rewards: a person's preference in its senses, and weighted sums."""

import pytest
import torch

from prefgen.errors import RewardError
from prefgen.rewards import PreferenceReward, WeightedRewards


class FakePrefDisc:
    """Logits read straight off the pixels: (mean, 1 - mean)."""

    def logits(self, prefix, images, prompts):
        mean = images.flatten(1).mean(1)
        return torch.stack([mean, 1 - mean], -1)


def test_the_preference_rewards_are_the_score_and_the_margin():
    images = torch.rand(3, 3, 4, 4)
    logits = FakePrefDisc().logits(None, images, "")
    q = logits.softmax(-1)[:, 0]
    assert torch.allclose(PreferenceReward(FakePrefDisc(), None)(images), q)
    assert torch.allclose(PreferenceReward(FakePrefDisc(), None, direction="dislike")(images), 1 - q)
    margin = PreferenceReward(FakePrefDisc(), None, objective="margin")(images)
    assert torch.allclose(margin, logits[:, 0] - logits[:, 1])
    assert torch.allclose(
        PreferenceReward(FakePrefDisc(), None, direction="dislike", objective="margin")(images), -margin
    )


def test_an_unknown_direction_is_refused():
    with pytest.raises(RewardError, match="direction is 'love'; expected one of like, dislike"):
        PreferenceReward(FakePrefDisc(), None, direction="love")


@pytest.mark.parametrize("prompt", [None, 5, ["a cactus", None]])
def test_a_prompt_that_is_no_text_is_refused(prompt):
    with pytest.raises(RewardError, match=r"prompt of the preference reward is (None|5); expected text"):
        PreferenceReward(FakePrefDisc(), None, prompt)


def test_weighted_rewards_add_up_and_bad_weights_are_refused():
    images = torch.rand(2, 3, 4, 4)
    total = WeightedRewards([(2.0, lambda x: x.flatten(1).mean(1)), (0.5, lambda x: x.flatten(1).amax(1))])
    assert torch.allclose(total(images), 2 * images.flatten(1).mean(1) + 0.5 * images.flatten(1).amax(1))
    for weights in ([], [0.0], [1.0, -1.0], [float("nan")], [float("inf")], ["1"], [None]):
        with pytest.raises(RewardError, match="reward weight is"):
            WeightedRewards([(weight, lambda x: x.flatten(1).mean(1)) for weight in weights])


def test_the_papers_weights_are_the_default():
    images = torch.rand(2, 3, 4, 4)
    total = WeightedRewards.from_names(
        {"preference": lambda x: x.flatten(1).mean(1), "pickscore": lambda x: x.flatten(1).sum(1)}
    )
    assert torch.allclose(total(images), 0.75 * images.flatten(1).mean(1) + 0.05 * images.flatten(1).sum(1))
    own = WeightedRewards.from_names({"clip": lambda x: x.flatten(1).mean(1)}, {"clip": 3.0})
    assert torch.allclose(own(images), 3 * images.flatten(1).mean(1))
    with pytest.raises(RewardError, match="no weight for beauty"):
        WeightedRewards.from_names({"beauty": lambda x: x})


def test_a_reward_of_weight_zero_is_not_computed():
    def fails(images):
        raise AssertionError("computed")

    total = WeightedRewards([(0.0, fails), (1.0, lambda x: x.flatten(1).mean(1))])
    assert total(torch.ones(1, 3, 2, 2)).tolist() == [1.0]
