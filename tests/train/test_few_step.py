"""The few-step LoRA's distillation, in a few steps on a few pairs of the teacher."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from prefgen.pocket import shapes
from train.data.posters import ATTRIBUTES
from train.pocket import distillation_pairs as pairs
from train.pocket import few_step
from train.pocket.__main__ import PARTS, trainer
from train.pocket.distillation_pairs import SHARD, teacher_pairs
from train.pocket.few_step import FewStepConfig, pseudo_huber, sample_later_sigmas, sharpness
from train.pocket.lora import merge_lora
from train.pocket.sampling import FewStepSampling, PocketGenerator, Sampling

SMALL = FewStepConfig(
    pairs=SHARD,
    held_out=SHARD,
    rank=2,
    batch=4,
    teacher=Sampling(2, 2.5),  # two steps instead of twelve: a teacher that costs little
    loop=replace(few_step.CONFIG.loop, steps=8, learning_rate=3e-3, warmup=1, save_every=2, log_every=2, ema=0.5),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished run, its LoRA, its figures, and the judges that were asked for."""
    folder, judges, load = tmp_path_factory.mktemp("few-step"), [], few_step.load_judge
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_step, "load_judge", lambda name="judge": judges.append(name) or load(name))
        figures = few_step.train(folder, SMALL, out=folder / "lora.safetensors")
    return folder, folder / "lora.safetensors", figures, judges


def test_the_part_is_trained_after_its_teacher():
    assert PARTS.index("generator") < PARTS.index("few_step")
    assert trainer("few_step") is few_step.train


def test_it_learns_and_says_how_far_it_got(trained):
    folder, file, figures, judges = trained
    assert judges == ["validation_judge"]
    assert {"teacher", "one_step", "two_steps", "four_steps", "without_lora"} < set(figures)
    assert {*ATTRIBUTES, "sharpness", "distance"} == set(figures["one_step"])
    assert figures["teacher"]["distance"] == 0
    assert figures["one_step"]["distance"] < figures["without_lora"]["distance"], "eight steps bring it nearer"
    assert figures["bytes"] == file.stat().st_size
    json.dumps(figures)
    (log,) = folder.rglob("log.jsonl")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"loss", "one_step", "further"} < set(rows[0])
    assert len(list(folder.rglob("sheet.png"))) == 1


def test_a_run_that_was_killed_ends_where_an_unbroken_one_does(trained, tmp_path, monkeypatch):
    _, file, *_ = trained
    monkeypatch.setattr(few_step, "measure", lambda *_: {})
    real, steps = few_step.distillation_loss, []

    def killed(*arguments):
        steps.append(1)
        if len(steps) == 6:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(few_step, "distillation_loss", killed)
    out = tmp_path / "lora.safetensors"
    with pytest.raises(KeyboardInterrupt):
        few_step.train(tmp_path, SMALL, out=out)
    monkeypatch.setattr(few_step, "distillation_loss", real)
    few_step.train(tmp_path, SMALL, out=out)
    assert out.read_bytes() == file.read_bytes()


def test_the_teachers_pairs_are_painted_once_and_are_its_pictures(trained, monkeypatch):
    folder, *_ = trained
    (where,) = folder.rglob("pairs")
    monkeypatch.setattr(pairs, "paint_latents", lambda *_: pytest.fail("they are kept"))
    teacher = PocketGenerator.load()
    found = teacher_pairs(where, teacher, SMALL.teacher, SHARD, 71)
    assert len(found) == SHARD
    rows = np.arange(4)
    theirs = teacher.paint(found.captions[:4], found.noise(rows), SMALL.teacher)
    # bfloat16's 8 bits, through two steps
    assert (teacher.decode(found.latents[:4]) - theirs).abs().mean() < 0.02


def test_other_weights_are_distilled_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(few_step, "fit", lambda *told: pytest.fail(str(told[3])))
    monkeypatch.setattr(few_step, "teacher_pairs", lambda *_, **__: None)
    folders = []
    for digest in "ab":
        monkeypatch.setattr(few_step, "weights_digests", lambda digest=digest: [digest])
        with pytest.raises(pytest.fail.Exception) as caught:
            few_step.train(tmp_path, SMALL, out=tmp_path / "lora.safetensors")
        folders.append(str(caught.value))
    assert folders[0] != folders[1]


def test_further_levels_are_those_that_a_few_step_sampler_stands_at():
    rng = np.random.default_rng(0)
    drawn = {round(float(sigma), 4) for sigma in sample_later_sigmas(300, rng)}
    every = {round(float(s), 4) for steps in (2, 3, 4) for s in FewStepSampling(steps).sigmas()[1:-1]}
    assert drawn == every


def test_the_loss_is_the_absolute_difference_from_afar_and_square_nearby():
    zero = torch.zeros(1)
    assert pseudo_huber(torch.tensor([2.0]), zero, 0.001).item() == pytest.approx(2.0, abs=1e-3)
    assert pseudo_huber(torch.tensor([1e-5]), zero, 0.001).item() == pytest.approx(1e-10 / 0.002, rel=1e-2)


def test_a_blurred_picture_is_less_sharp():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert sharpness(torch.nn.functional.avg_pool2d(image, 3, 1, 1)) < 0.5 * sharpness(image)


@pytest.mark.skipif(not shapes.FEW_STEP_LORA.is_file(), reason="python -m train.pocket few_step has not been run yet")
def test_the_shipped_lora_comes_nearer_to_the_teacher_in_one_step():
    """By far: the plain generator's one step is a blur."""
    teacher, student = PocketGenerator.load(), PocketGenerator.load()
    merge_lora(student.unet, shapes.FEW_STEP_LORA)
    prompts = ["a lighthouse, neon colours, framed", "a cactus, grey colours, striped background"]
    noise = torch.randn(2, 4, 12, 12, generator=torch.Generator().manual_seed(5))
    wanted = teacher.paint(prompts, noise)
    one, plain = (generator.paint(prompts, noise, FewStepSampling(1)) for generator in (student, teacher))
    assert (one - wanted).abs().mean() < 0.7 * (plain - wanted).abs().mean()
    assert sharpness(one) > 0.6 * sharpness(wanted)
    assert shapes.FEW_STEP_LORA.stat().st_size <= 2_000_000
