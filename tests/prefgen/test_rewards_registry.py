"""The published rewards, from files, against imscore's and transformers' own scores on tiny random models."""

import shutil

import pytest
import torch
from safetensors.torch import save_file
from torchvision import transforms

from prefgen.errors import RewardError
from prefgen.rewards import PublishedReward, load_reward_model
from prefgen.rewards.clip import ClipReward, tokenize
from prefgen.rewards.preprocess import MEAN, STD
from tests.prefgen import rewards_files

PROMPTS = ["a red house", "cats, a cat", "unheard of"]
# Wide, and no whole number of anything, so that resizing, cropping and padding all matter.
IMAGES = torch.rand(3, 3, 45, 71, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rewards")


@pytest.fixture(scope="module")
def peers(folder):
    return {
        "clip": rewards_files.write_clip(folder),
        "pickscore": rewards_files.write_clip(folder, "pickscore", prefix="model."),
        "hps": rewards_files.write_hps(folder),
        "aesthetic": rewards_files.write_aesthetic(folder),
        "image_reward": rewards_files.write_image_reward(folder),
    }


def expected(name, peer):
    """What the published code says. imscore's CLIP scorers do not run on transformers 5, whose features are objects;
    its own CLIP is asked instead, behind the preprocessing that CLIP's processor does."""
    if name not in ("clip", "pickscore"):
        return peer.score(IMAGES, PROMPTS).flatten()
    bicubic = transforms.InterpolationMode.BICUBIC
    steps = [transforms.Resize(28, interpolation=bicubic), transforms.CenterCrop(28), transforms.Normalize(MEAN, STD)]
    found = peer(pixel_values=transforms.Compose(steps)(IMAGES), input_ids=tokenize(PROMPTS))
    logits = found.logits_per_image.diagonal()
    return logits


@pytest.mark.parametrize("name", ["clip", "pickscore", "hps", "aesthetic", "image_reward"])
def test_a_reward_is_the_published_one(folder, peers, name):
    reward = PublishedReward(load_reward_model(name, [folder]), PROMPTS)
    with torch.no_grad():
        theirs = expected(name, peers[name])
    images = IMAGES.clone().requires_grad_()
    ours = reward(images)
    assert ours.shape == (3,)
    # float32, and the same operations but for their order
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert theirs.std() > 1e-4, "the rewards are too alike for this test to mean anything"
    (grad,) = torch.autograd.grad(ours.sum(), images)
    assert (grad.flatten(1).norm(dim=1) > 0).all()
    alone = PublishedReward(reward.model, PROMPTS[1])(IMAGES[1:2])
    assert torch.allclose(alone, ours[1:2], rtol=1e-4, atol=1e-5), "a reward is of its own image alone"


def test_clip_has_the_published_scale(folder, peers):
    """The cosine times the logit scale: with ReNO's 0.01 it counts as the cosine does."""
    with torch.no_grad():
        reward = PublishedReward(load_reward_model("clip", [folder]), PROMPTS)(IMAGES)
        scale = peers["clip"].logit_scale.exp()
    assert scale > 10
    assert reward.abs().max() > 1, "no cosine"
    assert (reward / scale).abs().max() <= 1


@pytest.mark.parametrize(("name", "tower"), [("clip", "text_model"), ("hps", "transformer")])
def test_the_prompt_is_read_once(folder, peers, name, tower):
    model = load_reward_model(name, [folder])
    calls = []
    getattr(model.model, tower).register_forward_hook(lambda *_: calls.append(1))
    reward = PublishedReward(model, "a cat")
    for _ in range(3):
        reward(IMAGES)
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["clip", "hps", "aesthetic", "image_reward"])
def test_in_bfloat16_it_is_about_the_same_and_finite(folder, peers, name):
    whole, half = (
        PublishedReward(load_reward_model(name, [folder], dtype), PROMPTS) for dtype in (torch.float32, torch.bfloat16)
    )
    images = IMAGES.clone().requires_grad_()
    rewards = half(images)
    assert rewards.dtype == torch.float32
    # bfloat16 keeps 8 bits, and each of a few layers loses one
    assert torch.allclose(rewards, whole(IMAGES), atol=0.1, rtol=0.1)
    (grad,) = torch.autograd.grad(rewards.sum(), images)
    assert torch.isfinite(grad).all()


def test_missing_files_are_named_with_all_places(folder, tmp_path):
    with pytest.raises(RewardError) as caught:
        load_reward_model("pickscore", [tmp_path / "one", tmp_path / "two"], cache=tmp_path / "hub")
    for text in ("pickscore needs model.safetensors", "one/pickscore", "two/pickscore", "RE-N-Y/pickscore", "hub"):
        assert text in str(caught.value)
    with pytest.raises(RewardError, match="The reward is 'hpsv9'; expected one of clip, aesthetic"):
        load_reward_model("hpsv9", [folder])


def test_a_missing_vocabulary_is_named_too(folder, peers, tmp_path):
    (tmp_path / "image_reward").mkdir()
    shutil.copy(folder / "image_reward" / "model.safetensors", tmp_path / "image_reward")
    with pytest.raises(RewardError, match=r"image_reward needs vocab.txt"):
        load_reward_model("image_reward", [tmp_path], cache=tmp_path)


def test_the_hugging_face_cache_serves(folder, peers, tmp_path):
    repo = tmp_path / "models--yuvalkirstain--PickScore_v1"
    shutil.copytree(folder / "pickscore", repo / "snapshots" / "0123")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0123")
    assert isinstance(load_reward_model("pickscore", [], cache=tmp_path), ClipReward)


def test_damaged_files_and_other_models_are_refused(folder, peers, tmp_path):
    path = tmp_path / "clip" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"no tensors")
    with pytest.raises(RewardError, match=r"cannot be read as \.safetensors"):
        load_reward_model("clip", [tmp_path])
    shutil.copytree(folder / "clip", tmp_path / "clip", dirs_exist_ok=True)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(RewardError, match=r"does not fit the reward: it lacks \d+ tensors"):
        load_reward_model("clip", [tmp_path])
    (path.parent / "config.json").write_text("{")
    with pytest.raises(RewardError, match="not a JSON object"):
        load_reward_model("clip", [tmp_path])


def test_prompts_and_images_must_be_as_many(folder, peers):
    with pytest.raises(RewardError, match="2 prompts for 3 images"):
        PublishedReward(load_reward_model("clip", [folder]), PROMPTS[:2])(IMAGES)
