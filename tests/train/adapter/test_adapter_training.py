"""The adapter's training: the UNet stays frozen, dropped users are plain, and a taste is learnt."""

import dataclasses

import pytest
import torch

from prefgen.adapter import PreferenceAdapter, UserParts, install_in_diffusers
from prefgen.alignment import AlignmentConfig
from prefgen.checkpoint.file import read_checkpoint
from prefgen.errors import ModelError
from prefgen.pocket import shapes
from tests.prefgen.test_adapter import CONFIG, make_unet, users
from train.adapter.config import AdapterTrainingConfig
from train.adapter.fit import train_adapter, write_adapter
from train.adapter.initialisation import initialise_from_text
from train.adapter.learner import AdapterLearner
from train.diffusion import (
    DiffusionBatch,
    add_noise,
    diffusion_loss,
    distillation_target,
    predict,
    prediction_loss,
)
from train.loop import LoopConfig
from train.pocket.generator import schedule
from train.settings import SettingsError, read_settings

TRAINING = AdapterTrainingConfig(LoopConfig(steps=3, learning_rate=1e-3, warmup=1, ema=0.5), batch=2, shift=2.0)
SMALL = AlignmentConfig(24, 128, hidden_dim=16)


def painted(batch: int = 2, seed: int = 3) -> DiffusionBatch:
    torch.manual_seed(seed)
    sizes = torch.tensor([shapes.SIZE_CONDITION] * batch, dtype=torch.float32)
    return DiffusionBatch(torch.randn(batch, 4, 12, 12), torch.randn(batch, 77, 192), torch.randn(batch, 128), sizes)


@pytest.mark.parametrize(("fusion", "aligned"), [("concatenation", False), ("attention", True)])
def test_a_training_changes_the_adapter_and_nothing_else(fusion, aligned, tmp_path):
    adapter = PreferenceAdapter(dataclasses.replace(CONFIG, fusion=fusion, core_aligned=aligned), SMALL)
    before = {name: tensor.clone() for name, tensor in adapter.state_dict().items()}
    unet = make_unet()
    initialise_from_text(adapter, unet)
    frozen = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    trained = train_adapter(adapter, unet, schedule(), lambda step: (users(), painted()), TRAINING, tmp_path)
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in unet.state_dict().items())
    changed = {name for name, tensor in trained.state_dict().items() if not torch.equal(tensor, before[name])}
    kept = {name for name in before if "alignment." in name}
    assert changed == before.keys() - kept
    # The checkpoint has everything but sem's alignment, which is a part of its own.
    write_adapter(tmp_path / "p.safetensors", trained, steps=3)
    written = read_checkpoint(tmp_path / "p.safetensors")
    assert written.part("adapter").keys() == {name for name in before if not name.startswith("alignment.")}
    assert written.header["adapter"]["fusion"] == fusion
    assert written.header["training"]["adapter"] == {"steps": 3}


def test_a_dropped_user_is_the_plain_generator():
    unet, adapter = make_unet(), PreferenceAdapter(CONFIG, SMALL)
    initialise_from_text(adapter, unet)
    branch = install_in_diffusers(unet, adapter)
    learner = AdapterLearner(adapter)

    def loss(present: list[bool] | None) -> float:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            if present is None:
                return diffusion_loss(unet, schedule(), painted(), generator).item()
            with branch.keys_values(learner(users(), torch.tensor(present))):
                return diffusion_loss(unet, schedule(), painted(), generator).item()

    # 1e-6: the branch adds zeros; what is left is float32's order of summation.
    assert loss([False, False]) == pytest.approx(loss(None), abs=1e-6)
    assert abs(loss([True, False]) - loss(None)) > 1e-5
    # And nothing is learnt from it, which is why no training of ours drops any.
    with branch.keys_values(learner(users(), torch.tensor([False, False]))):
        diffusion_loss(unet, schedule(), painted(), torch.Generator().manual_seed(1)).backward()
    assert all(p.grad is None or not p.grad.any() for p in adapter.parameters())


def test_every_user_is_dropped_where_the_share_says_so(tmp_path):
    """What the learner is told of who is present, counted over a training."""
    seen = []
    original = AdapterLearner.forward

    def watch(self, parts, present):
        seen.append(present.float().mean())
        return original(self, parts, present)

    learner = pytest.MonkeyPatch()
    learner.setattr(AdapterLearner, "forward", watch)
    try:
        config = dataclasses.replace(TRAINING, user_dropout=0.5, loop=dataclasses.replace(TRAINING.loop, steps=12))
        one = UserParts(*(part.repeat(8, 1) for part in users()))
        big = painted(batch=16)
        train_adapter(PreferenceAdapter(CONFIG, SMALL), make_unet(), schedule(), lambda _: (one, big), config, tmp_path)
    finally:
        learner.undo()
    # 192 draws of one half: three standard errors are 0.11.
    assert torch.stack(seen).mean() == pytest.approx(0.5, abs=0.11)


def test_the_loss_knows_both_predictions_and_refuses_a_third():
    from diffusers import DDPMScheduler

    unet = make_unet()
    with torch.no_grad():
        losses = {
            kind: diffusion_loss(
                unet, DDPMScheduler(prediction_type=kind), painted(), torch.Generator().manual_seed(0)
            ).item()
            for kind in ("epsilon", "v_prediction")
        }
        assert losses["epsilon"] != losses["v_prediction"]
        with pytest.raises(ModelError, match="'sample'"):
            diffusion_loss(unet, DDPMScheduler(prediction_type="sample"), painted(), torch.Generator())


def test_an_adapter_learns_what_its_users_like(tmp_path):
    """Two users at opposite ends, who like opposite latents under one caption: only the branch can tell them."""
    unet, same = make_unet(), painted()
    # A UNet that was never trained has an output layer of zeros, through which nothing could be learnt.
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    opposite = torch.tensor([1.0, -1.0])
    two = UserParts(*(part[:1] * opposite[:, None] for part in users()))
    liked = dataclasses.replace(
        same,
        latents=opposite[:, None, None, None].expand(2, 4, 12, 12).clone(),
        context=same.context[:1].expand(2, -1, -1),
        pooled=same.pooled[:1].expand(2, -1),
    )
    adapter = PreferenceAdapter(CONFIG, SMALL)
    initialise_from_text(adapter, unet)
    loop = LoopConfig(steps=40, learning_rate=3e-3, warmup=2, ema=0.5)
    adapter = train_adapter(
        adapter, unet, schedule(), lambda _: (two, liked), AdapterTrainingConfig(loop, user_dropout=0.0), tmp_path
    )
    branch = install_in_diffusers(unet, adapter)

    def loss(order: list[int]) -> float:
        with torch.no_grad(), branch.users(adapter.user_tokens(UserParts(*(part[order] for part in two)))):
            found = [diffusion_loss(unet, schedule(), liked, torch.Generator().manual_seed(i)) for i in range(6)]
        return torch.stack(found).mean().item()

    assert loss([0, 1]) < 0.9 * loss([1, 0]), "with the users exchanged the loss is clearly worse"


def test_a_user_learns_to_stand_for_what_a_fuller_caption_says(tmp_path):
    """Context distillation: two users, one prompt, and a caption for each that says more."""
    unet, same = make_unet(), painted()
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    two = UserParts(*(part[:1] * torch.tensor([1.0, -1.0])[:, None] for part in users()))
    latents, context, pooled = (part[:1].expand_as(part) for part in (same.latents, same.context, same.pooled))
    # Pooled text comes in beside the branch, and a UNet that knows nothing gives the branch no way to stand for it.
    fuller = (2 * same.context, pooled)
    told = DiffusionBatch(latents, context, pooled, same.sizes, fuller)
    adapter = PreferenceAdapter(CONFIG, SMALL)
    initialise_from_text(adapter, unet)
    loop = LoopConfig(steps=60, learning_rate=3e-3, warmup=2, ema=0.5)
    by_caption = AdapterTrainingConfig(loop, target="caption")
    adapter = train_adapter(adapter, unet, schedule(), lambda _: (two, told), by_caption, tmp_path)
    branch = install_in_diffusers(unet, adapter)
    given = distillation_target(unet, add_noise(schedule(), told, torch.Generator().manual_seed(9)), told)

    @torch.no_grad()
    def loss(order: list[int]) -> float:
        with branch.users(adapter.user_tokens(UserParts(*(part[order] for part in two)))):
            return prediction_loss(unet, given, told).item()

    with torch.no_grad():
        without = prediction_loss(unet, given, told).item()
    assert loss([0, 1]) < 0.9 * without, "with its user the prompt does for the caption"
    assert loss([0, 1]) < 0.9 * loss([1, 0]), "and with the other's it does not"


def test_the_teacher_reads_all_of_the_fuller_caption():
    unet, told = make_unet(), painted()
    fuller = (2 * told.context, told.pooled.flip(0))
    given = add_noise(schedule(), told, torch.Generator().manual_seed(9))
    with torch.no_grad():
        wanted = predict(unet, given.latents, given.timesteps, fuller, told.sizes)
        assert not torch.equal(
            wanted, predict(unet, given.latents, given.timesteps, (told.context, told.pooled), told.sizes)
        )
    assert torch.equal(
        distillation_target(unet, given, dataclasses.replace(told, teacher_captions=fuller)).target, wanted
    )
    with pytest.raises(SettingsError, match="no teacher captions"):
        distillation_target(unet, given, told)


def test_a_training_of_other_settings_is_not_gone_on_with(tmp_path):
    """A finished one would be taken for the new one, and nothing trained."""
    told = dataclasses.replace(painted(), teacher_captions=(2 * painted().context, painted().pooled))
    asked = []
    for target in ("image", "caption", "caption"):
        training = dataclasses.replace(TRAINING, target=target)
        adapter = PreferenceAdapter(CONFIG, SMALL)
        train_adapter(
            adapter, make_unet(), schedule(), lambda _: asked.append(1) or (users(), told), training, tmp_path
        )
    assert len(asked) == 2 * TRAINING.loop.steps, "and the same is found finished"


def test_settings_are_checked():
    config = read_settings(AdapterTrainingConfig, "adapter", "sdxl", ["fusion=attention", "core_aligned=true"])
    assert (config.fusion, config.core_aligned) == ("attention", True)
    with pytest.raises(SettingsError, match=r"user_dropout is 1.5"):
        read_settings(AdapterTrainingConfig, "adapter", "sdxl", ["user_dropout=1.5"])
    with pytest.raises(SettingsError, match=r"hidden is -1"):
        read_settings(AdapterTrainingConfig, "adapter", "sdxl", ["hidden=-1"])
