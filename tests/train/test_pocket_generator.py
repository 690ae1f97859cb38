"""What the pocket generator's training is made of."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from prefgen.pocket.shapes import UNET
from train.data.posters import ATTRIBUTES
from train.loop import LoopConfig, fit
from train.pocket.bfloat16 import FullPrecisionGroupNorm, speed_up_bfloat16
from train.pocket.generator import training_caption
from train.pocket.latents import LatentPool
from train.pocket.taesd import ThinTAESD


@pytest.fixture
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(**UNET.diffusers_kwargs()).requires_grad_(False)


def predict(unet: UNet2DConditionModel) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    latents, context = torch.randn(2, 4, 12, 12, generator=g), torch.randn(2, 77, 192, generator=g)
    added = {"text_embeds": torch.randn(2, 128, generator=g), "time_ids": torch.zeros(2, 6)}
    return unet(latents, torch.tensor([3, 700]), context, added_cond_kwargs=added, return_dict=False)[0]


def test_a_quickened_unet_predicts_the_same_and_keeps_its_weights(unet):
    before, names = predict(unet), list(unet.state_dict())
    assert speed_up_bfloat16(unet) is unet
    # another order of sums in attention: a few ulps of values around 1
    torch.testing.assert_close(predict(unet), before, atol=2e-5, rtol=1e-4)
    assert list(unet.state_dict()) == names


def test_normalisation_stays_in_full_precision_under_autocast(unet):
    seen = set()
    for module in speed_up_bfloat16(unet).modules():
        if isinstance(module, nn.GroupNorm):
            assert isinstance(module, FullPrecisionGroupNorm)
            module.register_forward_hook(lambda _, __, out: seen.add(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        predict(unet)
    assert seen == {torch.float32}


def test_bfloat16_training_computes_in_it_and_keeps_full_weights(tmp_path):
    torch.manual_seed(0)
    seen = []

    def loss_of(model, step):
        made = model(torch.ones(4, 8))
        seen.append(torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype)
        return {"loss": made.float().square().mean()}

    trained = fit(nn.Linear(8, 8), loss_of, LoopConfig(steps=2, bfloat16=True), tmp_path)
    assert seen == [torch.bfloat16] * 2
    assert trained.weight.dtype == torch.float32


def test_a_pool_without_some_subjects_has_every_other_poster():
    indices = np.stack([np.arange(12)] + [np.zeros(12, dtype=np.int64)] * 5, axis=1)
    pool = LatentPool(torch.arange(12.0).view(12, 1, 1, 1).expand(-1, 4, 12, 12), indices)
    names = list(ATTRIBUTES["subject"])
    kept = pool.without(["fish", "boat"])
    assert [names[i] for i in kept.indices[:, 0]] == [name for name in names if name not in ("fish", "boat")]
    assert kept.latents[:, 0, 0, 0].tolist() == kept.indices[:, 0].tolist()


def test_a_vae_of_any_width_is_read_back_as_it_was():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 32, 32)
    for widths in ((8, 8, 16, 16), (24, 48, 64, 64)):
        model = ThinTAESD(widths)
        again = ThinTAESD.of(model.state_dict() | {"vae_scale": torch.tensor(1.0)})
        assert torch.equal(again.decode(again.encode(images)), model.decode(model.encode(images)))


def test_captions_name_everything_first_and_the_subject_alone_only_later():
    rng, row = np.random.default_rng(0), np.zeros(6, dtype=np.int64)
    early = {training_caption(row, rng, done=0.1) for _ in range(200)}
    late = {training_caption(row, rng, done=0.9) for _ in range(200)}
    assert early == {"", "a sun over hills, grey colours, plain sky, centred, flat"}
    assert early < late
    assert "a sun" in late
