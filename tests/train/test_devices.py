"""Every training of a pocket part moves its batches to where its model lies."""

import copy

import pytest
import torch

from prefgen.checkpoint.preference_model import load_preference_model
from tests.fake_gpu import GPU, FakeGpu
from train.data.agents import World
from train.pocket import (
    clip,
    decoder,
    generator,
    judge,
    latents,
    vae,
)
from train.pocket.prefdisc import decoder_training as taste
from train.pocket.prefdisc import generated_posters as painted
from train.pocket.prefdisc import prompt_wordings as worded
from train.pocket.prefdisc import vision_training as sight
from train.pocket.prefdisc.architecture import new_prefdisc


def _table(prefdisc):
    return sight.encode_posters(prefdisc, *sight.draw_posters(24, 5, "train"), views=1)


def _taste(folder):
    prefdisc = new_prefdisc()
    taste.train_decoder(prefdisc, _table(prefdisc), World.load(), folder, taste.DecoderConfig(users=2))


def _worded(folder):
    prefdisc = new_prefdisc()
    worded.adapt_to_wordings(prefdisc, _table(prefdisc), World.load(), folder, worded.PromptWordingsConfig(users=2))


def _painted(folder):
    config = painted.GeneratedPostersConfig(drawn=24, twins=1, batch=6)
    with pytest.MonkeyPatch.context() as patch:
        posters = torch.zeros(12, 3, 96, 96, dtype=torch.uint8)
        patch.setattr(painted, "generate_posters", lambda *_: posters)
        patch.setattr(painted, "train_reader", lambda _, shape, seed: judge.Judge(**shape))
        painted.adapt_vision(load_preference_model("pocket").require("prefdisc"), folder, config)


def _generator(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "latent_pool", lambda where: latents.latent_pool(where, count=64))
        generator.train(folder)


TRAININGS = {
    vae: vae.train,
    decoder: decoder.train,
    clip: clip.train,
    generator: _generator,
    judge: lambda folder: judge.train_reader(folder, {"width": 8, "depth": 2}, 1),
    sight: lambda folder: sight.train_vision(folder, sight.VisionConfig(posters=24, batch=4)),
    taste: _taste,
    worded: _worded,
    painted: _painted,
}


class EnoughError(Exception):
    """The losses of one step are known; nothing is trained or written."""


@pytest.mark.parametrize("module", TRAININGS, ids=lambda module: module.__name__.rpartition(".")[-1])
def test_a_training_computes_where_its_model_lies(module, tmp_path, monkeypatch):
    found = {}

    def fit(model, loss_of, config, folder):
        with FakeGpu():
            found.update(loss_of(copy.deepcopy(model).to(GPU), 0))
        raise EnoughError

    monkeypatch.setattr(module, "fit", fit)
    with pytest.raises(EnoughError):
        TRAININGS[module](tmp_path)
    assert {loss.device for loss in found.values()} == {GPU}
