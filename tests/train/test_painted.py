"""PrefDisc's eyes on what the generator paints: the training of a few steps, and what the shipped one reads."""

import numpy as np
import pytest
import torch

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.pocket.shapes import FEW_STEP_LORA
from train.data.agents import World, draw_pairs, utility_of
from train.data.posters import ATTRIBUTES
from train.evaluate.judge import SHAPES, Judge, load_judge
from train.loop import LoopConfig
from train.pocket import judge
from train.pocket.__main__ import PARTS, trainer
from train.pocket.agent_embeddings import draw_history
from train.pocket.lora import merge_lora
from train.pocket.prefdisc import generated_posters as painted
from train.pocket.prefdisc.vision_training import draw_posters
from train.pocket.sampling import FewStepSampling, PocketGenerator, seed_noise

SMALL = painted.GeneratedPostersConfig(
    painted=2 * painted.SHARD, drawn=120, twins=1, loop=LoopConfig(steps=40, learning_rate=1e-3, warmup=5, ema=0.5)
)


@pytest.fixture(scope="module")
def shipped():
    return load_preference_model("pocket").require("prefdisc")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """Another PrefDisc, after a few steps, and the paintings that it learned from."""
    folder, quick = tmp_path_factory.mktemp("painted"), LoopConfig(steps=3, learning_rate=1e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge.train_reader, "__defaults__", (quick,))
        prefdisc = painted.adapt_vision(load_preference_model("pocket").require("prefdisc"), folder, SMALL)
    return prefdisc, painted.generate_posters(folder / "painted", SMALL.painted, SMALL.each, SMALL.slowly)


def test_the_part_is_trained_after_what_paints_and_before_what_reads_its_layers():
    assert PARTS.index("few_step") < PARTS.index("painted") < PARTS.index("probe") < PARTS.index("align")
    assert trainer("painted") is painted.train


def test_only_the_eyes_learn_and_drawings_look_as_before(adapted, shipped):
    prefdisc, paintings = adapted
    before, after = dict(shipped.named_parameters()), dict(prefdisc.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("vision_model" in name or "connector" in name for name in moved)
    drawings, _ = draw_posters(48, 5, "train")
    with torch.no_grad():
        changes = [
            (prefdisc.features(some.float() / 255) - shipped.features(some.float() / 255)).square().mean().item()
            for some in (drawings, paintings[:48])
        ]
    assert changes[0] < changes[1], "what is painted is to look different now, what is drawn the same"


def test_paintings_differ(adapted):
    _, paintings = adapted
    assert paintings.shape == (SMALL.painted, 3, 96, 96)
    assert len({image.numpy().tobytes() for image in paintings}) == SMALL.painted


def test_most_shards_are_painted_in_one_step(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(painted, "_paint", lambda _, sampling, *rest: steps.append(sampling.steps) or torch.zeros(1))
    painted.generate_posters(tmp_path, 4 * painted.SHARD, 0.3, slowly=3)
    assert steps == [12, 1, 1, 12]


def test_eyes_see_together_what_their_logarithms_say_on_average():
    """Two readers whose biases alone differ, so that each one's probabilities are the softmax of its biases."""
    eyes = [Judge(width=8, depth=2) for _ in range(2)]
    for eye in eyes:
        for head in eye.heads.values():
            torch.nn.init.zeros_(head.weight)
            torch.nn.init.normal_(head.bias)
    with torch.no_grad():
        seen = painted.ensemble_probabilities(eyes, torch.zeros(3, 3, 96, 96, dtype=torch.uint8))
        biases = [torch.stack([eye.heads[name].bias for eye in eyes]) for name in ATTRIBUTES]
        means = [both.softmax(-1).log().mean(0).exp() for both in biases]
    torch.testing.assert_close(seen, torch.cat([mean / mean.sum() for mean in means]).expand(3, -1))


def test_no_reader_has_a_judges_shape_or_seed():
    shapes = {(shape["width"], shape["depth"]) for shape in SHAPES.values()}
    assert not shapes & {(width, depth) for width, depth, _ in painted.READERS}
    assert not set(judge.SEEDS.values()) & {seed for *_, seed in painted.READERS}


def test_the_shipped_one_tells_which_paintings_an_agent_likes(shipped):
    """By the validation judge's reading of one-step pictures of one short prompt. Before it had seen paintings, the
    shipped PrefDisc's scores had a correlation of .29 with utility, .49 after its eyes' first sitting and .54 after the
    second (24 agents; two judges agree to .64); a deviation of the mean over 24 agents is .05."""
    world, rng = World.load(), np.random.default_rng(77)
    utilities, _ = world.sample(24, rng)
    pairs = draw_pairs(world, utilities, 8, rng)
    generator, eyes, found = PocketGenerator.load(), load_judge("validation_judge"), []
    merge_lora(generator.unet, FEW_STEP_LORA)
    subjects = list(ATTRIBUTES["subject"].values())
    with torch.no_grad():
        for i in range(len(utilities)):
            prefix = shipped.encode(draw_history(pairs[i], rng, f"agent {i}"))
            prompts = [subjects[i % len(subjects)]] * 12
            images = generator.paint(prompts, seed_noise(list(range(12 * i, 12 * i + 12))), FewStepSampling(1, 1.0))
            liked, disliked = shipped.logits(prefix, images, prompts).float().unbind(-1)
            read = np.array([a.indices for a in eyes.predict((images * 255).round().byte())])
            true = utility_of(utilities[i][None], read)
            found.append(np.corrcoef((liked - disliked).numpy(), true)[0, 1])
    assert np.mean(found) > 0.45
