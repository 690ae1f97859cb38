"""The pocket PrefDisc's training: what the batches hold, and a run of a few steps from end to end."""

import numpy as np
import pytest
import torch

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.prefdisc.model import PrefDisc
from train.data.agents import World, random_indices, training_users, utility_of
from train.data.posters import ATTRIBUTES
from train.loop import LoopConfig
from train.pocket import prefdisc as training
from train.pocket.prefdisc.architecture import LATENTS, SPEC, WIDTH, new_prefdisc
from train.pocket.prefdisc.decoder_training import DecoderConfig, train_decoder
from train.pocket.prefdisc.user_batches import PAIRS, one_hot_values, sample_user_batch
from train.pocket.prefdisc.variants import train_variant
from train.pocket.prefdisc.vision_training import PosterTable, VisionConfig, draw_posters, encode_posters


@pytest.fixture(scope="module")
def prefdisc() -> PrefDisc:
    torch.manual_seed(0)
    return new_prefdisc()


@pytest.fixture(scope="module")
def table() -> PosterTable:
    """A table whose features are random: as good as any for what a batch is made of."""
    rng = np.random.default_rng(0)
    attributes = random_indices((240,), rng)
    attributes[:, 0] = np.arange(240) % 12
    return PosterTable(attributes, torch.randn(240, 2, LATENTS, WIDTH, generator=torch.Generator().manual_seed(0)))


def test_a_turn_is_six_tokens(prefdisc):
    template = prefdisc.template
    assert len(template.labelled_turn("a lighthouse", True)) == 6
    assert len(template.unlabelled_turn("a lighthouse")) == 5
    known = {
        template.tokenizer.id_to_token(i)
        for phrase in ATTRIBUTES["subject"].values()
        for i in template.unlabelled_turn(phrase)
    }
    assert "[UNK]" not in known


def test_a_batch_of_users(prefdisc, table):
    world, rng = World.load(), np.random.default_rng(1)
    users = sample_user_batch(prefdisc.template, table, world, training_users(world, 200), [PAIRS, 0], rng)
    assert users.features.shape == (200, 2 * (PAIRS + 2), LATENTS, WIDTH)
    assert (users.history[..., 0, 0] == users.history[..., 1, 0]).all(), "a pair has one subject"
    assert users.packed.prediction_positions.shape == (200, 2, 2)
    assert users.chosen.float().mean().item() == pytest.approx(users.probability.mean().item(), abs=0.1)
    # What was liked agrees with the taste far more often than what was not.
    liked = one_hot_values(users.history[:, :, 0]) - one_hot_values(users.history[:, :, 1])
    assert (liked.sum(1) * users.taste).sum() > 100


def test_a_history_tells_the_group_its_user_is_of(prefdisc, table):
    world, rng = World.load(), np.random.default_rng(4)
    utilities, groups = world.sample(200, rng)
    users = sample_user_batch(prefdisc.template, table, world, utilities, [PAIRS], rng)
    told = (users.evidence.sum(1).argmax(-1).numpy() == groups).mean()
    assert told > 0.5, "by chance it would be .125; eight pairs tell .7 of the groups"


def test_utilities_are_those_of_the_simulator(prefdisc, table):
    world = World.load()
    utilities, _ = world.sample(5, np.random.default_rng(2))
    users = sample_user_batch(prefdisc.template, table, world, utilities, [PAIRS], np.random.default_rng(2))
    gap = np.diff(utility_of(utilities[:, None, None], users.targets), axis=-1)[..., 0] * -1
    assert users.probability.numpy() == pytest.approx(world.probability(gap), abs=1e-6)


def test_features_in_a_batch_are_those_of_its_posters(prefdisc, table):
    world = World.load()
    users = sample_user_batch(
        prefdisc.template, table, world, training_users(world, 3), [PAIRS], np.random.default_rng(3)
    )
    shown = np.concatenate([users.history, users.targets], axis=1).reshape(3, -1, 6)
    for user in range(3):
        for place in (0, 5, 17):
            row = (table.features == users.features[user, place]).all(-1).all(-1).nonzero()[0, 0]
            assert (table.attributes[row] == shown[user, place]).all()


def test_the_towers_weights_stay_while_a_taste_is_learnt(table, tmp_path):
    torch.manual_seed(0)
    start = new_prefdisc()
    before = {name: p.detach().clone() for name, p in start.named_parameters()}
    short = LoopConfig(steps=3, warmup=1, log_every=1, ema=0.0)
    trained = train_decoder(start, table, World.load(), tmp_path, DecoderConfig(users=4, loop=short, tokens=short))
    moved = {name for name, p in trained.named_parameters() if not torch.equal(p, before[name])}
    assert "tokens" in moved
    assert any("text_model" in name for name in moved)
    assert not any("vision_model" in name or "connector" in name for name in moved)


def test_a_short_run_writes_a_checkpoint_that_loads(tmp_path, monkeypatch):
    short = LoopConfig(steps=2, warmup=1, log_every=1, ema=0.0)
    monkeypatch.setattr(training, "validate", lambda model, world: {"accuracy_8": 0.5})
    sight, taste = (
        VisionConfig(posters=24, views=1, batch=4, loop=short),
        DecoderConfig(users=2, short=1, loop=short, tokens=short),
    )
    assert training.train(tmp_path / "run", sight, taste, tmp_path) == {"accuracy_8": 0.5}
    import prefgen.pocket.shapes as pocket

    monkeypatch.setattr(pocket, "FOLDER", tmp_path)
    (tmp_path / "clip_vision.safetensors").symlink_to(training.SHIPPED / "clip_vision.safetensors")
    model = load_preference_model("pocket")
    assert model.header["training"] == {"prefdisc": {"accuracy_8": 0.5}}
    assert model.spec.sem_layers == SPEC.sem_layers
    images, attributes = draw_posters(24, seed=5, split="test")
    seen = encode_posters(model.prefdisc, images, attributes, views=0)
    assert seen.features.shape == (24, 1, LATENTS, WIDTH)
    assert torch.isfinite(model.prefdisc.score(None, images[:3].float() / 255, "a fish")).all()


@pytest.mark.parametrize("name", ["base", "no_history", "tokens_8"])
def test_a_variant_lacks_what_it_should(table, tmp_path, name):
    eyes = new_prefdisc()
    trained = train_variant(name, 0, tmp_path, 2, eyes, table, users=2)
    assert trained.tokens.shape[0] == {"base": 0, "no_history": 0, "tokens_8": 8}[name]
    patches, seen = (model.base.model.vision_model.state_dict() for model in (eyes, trained))
    assert all(torch.equal(tensor, seen[name]) for name, tensor in patches.items()), "every variant has the same eyes"
    users = sample_user_batch(
        trained.template, table, World.load(), training_users(World.load(), 2), [PAIRS], np.random.default_rng(0)
    )
    assert torch.isfinite(trained(users.packed, users.features).logits).all()
