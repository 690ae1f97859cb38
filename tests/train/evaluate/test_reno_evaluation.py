"""Optimised noise for unseen agents, on a few of them and two iterations: what is climbed, kept, measured and told."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch

from prefgen.errors import ModelError
from train.evaluate import reno
from train.evaluate.judge import Judge
from train.evaluate.pictures.agents import draw_agents
from train.evaluate.reno import run, sweep
from train.evaluate.reno.cached_generator import CachedGenerator, GeneratedPictures
from train.evaluate.reno.conditions import ALL_CONDITIONS
from train.evaluate.reno.report import ConditionResult, figures, targets_met
from train.evaluate.reno.rewards import LabelReward, RewardFactory, without_prompts
from train.evaluate.reno.settings import Settings
from train.evaluate.reno.viper import Viper
from train.evaluate.statistics import Estimate
from train.pocket.prefdisc.architecture import new_prefdisc
from train.pocket.sampling import FewStepSampling, PocketGenerator, seed_noise

REQUIRED = (
    *("win_rate", "win_rate_best_of_n", "win_rate_adapter_reno", "obedience", "obedience_plain", "hacking_fraction"),
    *("agents", "stderr"),
)


@pytest.fixture(scope="session")
def two(model, world, gallery):
    rng = np.random.default_rng(5)
    utilities, groups = world.sample(2, rng)
    return draw_agents(model, world, gallery, utilities, groups, rng, first_seed=500)


def small(folder, *more):
    """A command's arguments: the smallest that has an interval."""
    where = ["--folder", str(folder / "kept"), "--out", str(folder / "out"), "--document", str(folder / "e.md")]
    least = ["--users", "2", "--seeds", "1", "--posters", "4", "--steps", "1", "--iterations", "2", "--starts", "1"]
    return [*least, *where, *more]


def test_the_command_shows_what_it_must(tmp_path, capsys, monkeypatch):
    told = small(tmp_path, "--rows", "best_of_n", "reno", "adapter_reno")
    result = reno.main(told)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(json.dumps(result))
    assert not set(REQUIRED) - set(result)
    assert set(result["stderr"]) <= set(result)
    assert list(result["rows"]) == ["plain", "best_of_n", "reno", "adapter", "adapter_reno"], "what it starts from too"
    assert result["rows"]["plain"]["win_rate"]["value"] == 0.5, "plain ties with itself"
    assert result["rows"]["reno"]["image_reward"] == "not measured"
    document = (tmp_path / "e.md").read_text()
    assert "<!-- reno -->" in document
    assert "ImageReward" in document
    for picture in ("e/reno.png", "e/reno-sheet.jpg"):
        assert f"({picture})" in document
        assert matplotlib.image.imread(tmp_path / picture).shape[0] > 200
    # A second run finds every picture painted, and measures the same.
    monkeypatch.setattr(PocketGenerator, "load", lambda *_: pytest.fail("nothing is left to paint"))
    assert reno.main(told)["rows"] == result["rows"]


def test_a_setting_is_chosen_by_the_validation_judge_alone(tmp_path, monkeypatch):
    judges, load = [], sweep.load_judge
    monkeypatch.setattr(sweep, "load_judge", lambda name="judge": judges.append(name) or load(name))
    one = ("--learning-rates", "15", "--clips", "1", "--readings", "score", "--views", "4", "--starts", "2")
    result = sweep.main(small(tmp_path, *one))
    assert judges == ["validation_judge"]
    assert result["setting"] == Settings(15, clip=1, objective="score", views=4, num_initial_noises=2).to_json()
    assert len(result["settings"]) == 1
    assert "<!-- reno.sweep -->" in (tmp_path / "e.md").read_text()


def test_the_shipped_lora_is_used_where_there_is_one_in_one_step(tmp_path, monkeypatch):
    def paints(*arguments):
        parser = argparse.ArgumentParser()
        run.add_generator_options(parser)
        options = SimpleNamespace(arguments=parser.parse_args(arguments), model=lambda: None)
        painting = run.create_generator(options, Settings())
        return painting.lora, painting.sampling.steps

    lora = tmp_path / "lora.safetensors"
    monkeypatch.setattr(run, "FEW_STEP_LORA", lora)
    assert paints() == (None, 4)
    lora.touch()
    assert paints() == (lora, 1)
    assert paints("--no-lora") == (None, 4)
    assert paints("--lora", "own.safetensors", "--steps", "2") == (Path("own.safetensors"), 2)


@pytest.mark.parametrize(
    ("command", "wrong", "said"),
    [
        (reno, ("--preference", "-1"), "A reward weight is -1"),
        (reno, ("--views", "-1"), "views is -1"),
        (reno, ("--iterations", "0"), "at least 1"),
        (sweep, ("--starts", "1", "5"), "num_initial_noises is 5; expected"),
    ],
)
def test_a_wrong_setting_is_said_in_a_sentence_before_the_work(tmp_path, monkeypatch, capsys, command, wrong, said):
    monkeypatch.setattr(run, "unseen_agents", lambda *_: pytest.fail("hours of work"))
    monkeypatch.setattr(sweep, "validation_agents", lambda *_: pytest.fail("hours of work"))
    with pytest.raises(SystemExit) as ended:
        command.main(small(tmp_path, *wrong))
    assert ended.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m train.evaluate.reno")
    assert said in last


def test_a_lora_that_is_not_there_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        reno.main(small(tmp_path, "--lora", str(tmp_path / "own.safetensors")))
    assert capsys.readouterr().err.splitlines()[-1].endswith("own.safetensors: No such file or directory.")


@pytest.mark.parametrize(("steps", "cfg"), [(0, 1.0), (1, float("nan"))])
def test_a_sampling_that_paints_nothing_is_refused(steps, cfg):
    with pytest.raises(ModelError, match=f"steps and cfg are {steps} and {cfg:g}"):
        FewStepSampling(steps, cfg)


def test_the_published_row_keeps_its_settings_whatever_the_command_has(tmp_path, model, two):
    condition = ALL_CONDITIONS["reno_published"]
    assert (condition.settings.objective, condition.settings.views) == ("score", 0)
    config = condition.settings.config(condition.iterations)
    assert (config.iterations, config.learning_rate, config.num_initial_noises) == (50, 5, 1)
    assert (config.momentum, config.max_grad_norm, config.regulariser) == (0.9, 0.1, 0.01)
    short, own = replace(condition, iterations=3), Settings(15, views=4, num_initial_noises=2)
    painting = CachedGenerator(model, tmp_path, 1.5, own, iterations=2, sampling=FewStepSampling(1))
    made = painting.generate(two, "reno_published", short)
    assert made.curve.shape == (2, 4, 3)
    alone = replace(painting, settings=condition.settings, iterations=3, folder=tmp_path / "other")
    assert torch.equal(alone.generate(two, "reno", ALL_CONDITIONS["reno"]).images, made.images)
    assert painting.minutes([condition], 1) > 10 * painting.minutes([ALL_CONDITIONS["reno"]], 1)


def test_dislikes_lead_both_ways(model, two):
    images = torch.rand(1, 3, 96, 96)
    prefix, prompts = two.prefixes[0], [two.prompts[0][0]]
    away, toward = (LabelReward(model.prefdisc, prefix, prompts, name)(images) for name in ("dislikes", "disliked"))
    assert torch.equal(away, -toward)


def test_every_row_climbs_its_own_score_from_plains_noise(tmp_path, model, two):
    # Of the image itself: views are drawn anew in every iteration.
    alone = Settings(views=0, num_initial_noises=1)
    painting = CachedGenerator(model, tmp_path, 1.5, alone, iterations=3, sampling=FewStepSampling(1))
    plain = painting.generate(two, "plain", ALL_CONDITIONS["plain"])
    assert plain.images.shape == (2, 4, 3, 96, 96)
    made = {name: painting.generate(two, name, ALL_CONDITIONS[name]) for name in ("best_of_n", "reno", "general")}
    for row in made.values():
        assert row.curve.shape == (2, 4, 3)
        assert (np.diff(row.curve) >= 0).all()
        assert (row.score >= row.first).all()
    assert (made["reno"].score > made["reno"].first).any()
    # Both start from plain's picture, by the same score. 1e-3: a batch with a graph sums in another order.
    assert made["reno"].first == pytest.approx(made["best_of_n"].first, abs=1e-3)
    assert np.abs(made["general"].first - made["reno"].first).max() > 1e-2
    # What ReNO tries to start from is what best-of-N tries.
    started = replace(painting, settings=replace(alone, num_initial_noises=2)).generate(
        two, "reno", ALL_CONDITIONS["reno"]
    )
    assert started.curve[..., :2] == pytest.approx(made["best_of_n"].curve[..., :2], abs=1e-5)
    assert (started.score[..., None] >= started.curve[..., :2]).all()
    # What is said to be the score is the score of the picture, but for its rounding to eight bits.
    reward = RewardFactory(model.prefdisc).create("preference", two, painting.settings)
    with torch.no_grad():
        again = reward(made["reno"].images.flatten(0, 1).float() / 255)
    assert again.numpy() == pytest.approx(made["reno"].score.ravel(), abs=0.03)


def test_each_agent_is_read_with_their_own_history(model, two):
    images = two.liked_posters.flatten(0, 1).float() / 255
    factory = RewardFactory(model.prefdisc, model.prefdisc)
    how = Settings(preference=1.0, clip=0.0, objective="margin", views=0)
    with torch.no_grad():
        ours = factory.create("preference", two, how)(images)
        parts = [model.prefdisc.logits(two.prefixes[i], images[4 * i : 4 * i + 4], two.prompts[i]) for i in (0, 1)]
        likes, dislikes = (factory.create(name, two, how)(images) for name in ("likes", "dislikes"))
        wordless = factory.create("viper", two, how)(images)
    logits = torch.cat(parts)
    # float32; the same forwards.
    assert torch.allclose(ours, logits[:, 0] - logits[:, 1], atol=1e-4)
    assert torch.allclose(likes, logits[:, 0], atol=1e-4)
    assert torch.allclose(dislikes, -logits[:, 1], atol=1e-4)
    assert (wordless - ours).abs().max() > 1e-3, "without its prompts a history reads otherwise"
    assert {pair.prompt for pair in without_prompts(two.histories[0]).pairs} == {""}
    assert LabelReward(model.prefdisc, two.prefixes[0], two.prompts[0], "likes")(images[:4]).shape == (4,)


def test_the_few_step_painter_has_a_gradient():
    generator = PocketGenerator.load()
    noise, sampling = seed_noise([3]), FewStepSampling(2)
    generate = generator.painter(["a lighthouse"], sampling)
    leaf = noise.clone().requires_grad_()
    images = generate(leaf)
    assert torch.allclose(images.detach(), generator.paint(["a lighthouse"], noise, sampling), atol=1e-5)
    assert images.min() >= 0
    assert images.max() <= 1 + 1e-6
    (gradient,) = torch.autograd.grad(images.square().mean(), leaf)
    assert gradient.abs().max() > 0
    sigmas = sampling.sigmas()
    assert len(sigmas) == 3
    assert sigmas[0] > sigmas[1] > sigmas[2] == 0


class Read:
    """What is read of a PictureMetrics here."""

    def __init__(self, utility):
        self.utility = np.array(utility, dtype=float)
        for name in ("subject_correct", "score", "clip_text", "clip_img", "style"):
            setattr(self, name, np.ones_like(self.utility))


def test_hacking_is_a_score_that_rose_while_utility_fell():
    plain = Read([[0, 0, 0, 0], [0, 0, 0, 0]])
    painted = GeneratedPictures(None, np.array([[1, 1, 0, 0]] * 2), np.zeros((2, 4)), np.zeros((2, 4, 1)))
    row = ConditionResult(painted, Read([[1, -1, -1, 1], [1, -1, 0, 0]]), plain, plain)
    assert row.hacked.tolist() == [[False, True, False, False]] * 2
    assert row.wins.tolist() == [[1, 0, 0, 1], [1, 0, 0.5, 0.5]]
    found = {"plain": replace(row, measured=plain), "reno": row}
    assert figures(found)["hacking_fraction"] == 0.25
    assert targets_met(found) == {"wins": False, "obedience": True, "hacking": False}


def test_from_plain_it_counts_what_is_below_the_plain_picture_whatever_a_row_began_with():
    plain, began, made = Read([[0, 0, 0]] * 2), Read([[2, -2, 2]] * 2), Read([[1, -1, -1]] * 2)
    plain.score, made.score = np.array([[0.5, 0.5, 0.5]] * 2), np.array([[0.9, 0.9, 0.4]] * 2)
    row = ConditionResult(
        GeneratedPictures(None, np.ones((2, 3)), np.zeros((2, 3)), np.zeros((2, 3, 1))), made, plain, began
    )
    assert row.hacked.tolist() == [[True, False, True]] * 2
    assert row.hacked_from_plain.tolist() == [[False, True, False]] * 2
    assert row.estimates["hacking_from_plain"].value == pytest.approx(1 / 3)


def test_a_setting_is_as_good_as_the_least_sure_of_its_bars():
    def row(win, hacking, lost):
        values = {"win_rate": (win, 0.02), "hacking_fraction": (hacking, 0.02), "lost": (lost, 0.01)}
        return {name: Estimate(value, error, value, value, 2) for name, (value, error) in values.items()}

    assert sweep.margin(row(0.87, 0.05, -0.1)) == pytest.approx(1)
    assert sweep.margin(row(0.95, 0.16, -0.1)) == pytest.approx(-0.5)
    assert sweep.margin(row(0.95, 0.05, 0.05)) == pytest.approx(-2)
    exact = {name: Estimate(estimate.value, 0, 0, 0, 2) for name, estimate in row(0.9, 0.1, 0.0).items()}
    assert sweep.margin(exact) > 0


def test_what_a_setting_lost_is_paired_with_plain():
    plain, made = Read([[0.0, 0.0]] * 2), Read([[1.0, 1.0]] * 2)
    plain.subject_correct, made.subject_correct = np.array([[1, 1], [1, 0]]), np.array([[1, 0], [0, 0]])
    row = ConditionResult(
        GeneratedPictures(None, np.ones((2, 2)), np.zeros((2, 2)), np.zeros((2, 2, 1))), made, plain, plain
    )
    assert (sweep.estimates_with_loss(row)["lost"].value, sweep.estimates_with_loss(row)["lost"].stderr) == (0.5, 0)


def test_the_viper_like_model_is_trained_once(tmp_path, monkeypatch):
    viper = Viper(tmp_path, steps=1)
    assert viper.file.parent.parent == tmp_path
    trained, made = [], new_prefdisc(0)
    monkeypatch.setattr("train.evaluate.reno.viper.variants.load_shipped_vision", lambda *_: (None, None))
    monkeypatch.setattr(
        "train.evaluate.reno.viper.variants.train_variant", lambda name, *_, **__: trained.append(name) or made
    )
    found = viper.prefdisc()
    assert viper.prefdisc().spec.num_tokens == 0
    assert trained == ["viper"]
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in made.state_dict().items())
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_the_judge_has_no_part_in_painting(tmp_path, model, two, monkeypatch):
    monkeypatch.setattr(Judge, "forward", lambda *_: pytest.fail("the judge rewards nothing"))
    settings = Settings(num_initial_noises=1)
    generator = CachedGenerator(model, tmp_path, 1.5, settings, iterations=2, sampling=FewStepSampling(1))
    generator.generate(two, "reno", ALL_CONDITIONS["reno"])
