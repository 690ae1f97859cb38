"""Tests the generation evaluation with few agents and two steps: pictures, cache, metrics and reports."""

import json
from functools import partial

import matplotlib.image
import numpy as np
import pytest
import torch

from prefgen.errors import ModelError
from train.data.agents import random_indices, utility_of
from train.data.posters import ATTRIBUTES
from train.evaluate import generation
from train.evaluate.generation import adapter_variants, run, strength
from train.evaluate.generation.adapter_variants import AdapterTrainings
from train.evaluate.generation.cached_generator import CachedGenerator
from train.evaluate.generation.conditions import ALL_CONDITIONS
from train.evaluate.judge import load_judge
from train.evaluate.pictures.agents import Agents, draw_agents
from train.evaluate.pictures.image_features import PocketFeatures, PublishedClip
from train.pocket import align
from train.pocket import projected_adapter as projected
from train.pocket.people import HELD_OUT_SUBJECTS, VALIDATION_SUBJECTS
from train.pocket.poster_batches import draw_all
from train.pocket.sampling import PocketGenerator, Sampling

REQUIRED = ("win_rate", "win_rate_other_person", "obedience", "obedience_plain", "diversity_ratio", "agents", "stderr")
SUBJECTS = list(ATTRIBUTES["subject"])


@pytest.fixture(scope="session")
def agents(model, world, gallery):
    rng = np.random.default_rng(3)
    utilities, groups = world.sample(6, rng)
    return draw_agents(model, world, gallery, utilities, groups, rng, first_seed=100)


@pytest.fixture
def quick(monkeypatch):
    """Generate with two steps, and record the number of pictures in each batch."""
    painted, paint = [], PocketGenerator.paint
    for module in (run, strength):
        monkeypatch.setattr(module, "CachedGenerator", partial(CachedGenerator, sampling=Sampling(steps=2)))
    monkeypatch.setattr(PocketGenerator, "paint", lambda *a, **k: painted.append(len(a[1])) or paint(*a, **k))
    return painted


def small(folder, *more):
    """Return the arguments of a small run."""
    where = ["--folder", str(folder / "kept"), "--out", str(folder / "out"), "--document", str(folder / "e.md")]
    return ["--users", "4", "--seeds", "2", "--posters", "4", *where, *more]


def test_the_command_shows_what_it_must(tmp_path, capsys, quick):
    told = small(tmp_path, "--rows", "full", "other", "written", "swap_img", "--fewer", "2")
    result = generation.main(told)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(json.dumps(result))
    assert not set(REQUIRED) - set(result)
    assert set(result["stderr"]) <= set(result)
    assert result["agents"] == 4
    assert [(name, row["agents"]) for name, row in result["rows"].items()] == [
        ("plain", 4),
        ("written", 4),
        ("full", 4),
        ("other", 4),
        ("swap_img", 2),
    ]
    assert set(result["swaps"]) == {"img"}
    assert result["rows"]["plain"]["win_rate"]["value"] == 0.5, "plain ties with itself"
    assert result["rows"]["full"]["cmmd_published_clip"] == "not measured"
    assert sum(quick) == 4 * 4 * 4 + 2 * 4, "four pictures for each agent and condition"
    document = (tmp_path / "e.md").read_text()
    assert "<!-- generation -->" in document
    assert "FID (pocket CLIP)" in document
    assert "Swaps" in document
    for picture in ("e/generation.png", "e/generation-sheet.jpg"):
        assert f"({picture})" in document
        assert matplotlib.image.imread(tmp_path / picture).shape[0] > 200
    # A second run finds all pictures in the cache, and measures the same.
    quick.clear()
    again = generation.main(told)
    assert not quick
    assert again["rows"] == result["rows"]


def test_a_strength_is_chosen_by_the_validation_judge(tmp_path, quick, monkeypatch):
    asked, prompts = [], []
    generate = CachedGenerator.generate
    monkeypatch.setattr(
        CachedGenerator,
        "generate",
        lambda self, agents, *rest: prompts.extend(agents.prompts) or generate(self, agents, *rest),
    )
    monkeypatch.setattr(strength, "load_judge", lambda name: asked.append(name) or load_judge(name))
    result = strength.main(small(tmp_path, "--strengths", "1", "2"))
    assert asked == ["validation_judge"], "the judge of the test is not used"
    named = {name for name in SUBJECTS for own in prompts for p in own if p.endswith(ATTRIBUTES["subject"][name])}
    assert named <= set(VALIDATION_SUBJECTS), "nor are the subjects of the test"
    assert result["strength"] in (1, 2)
    assert set(result["strengths"]) == {"0.0", "1.0", "2.0"}
    assert result["strengths"]["0.0"]["win_rate"]["value"] == 0.5
    assert "<!-- generation.strength -->" in (tmp_path / "e.md").read_text()


def test_rows_differ_by_who_is_in_them_alone(tmp_path, model, agents):
    generator = CachedGenerator(model, tmp_path, 1.5, Sampling(steps=2))
    two = np.arange(2)
    rows = {
        name: generator.generate(agents, name, ALL_CONDITIONS[name], two).float() for name in ("plain", "full", "other")
    }
    assert rows["plain"].shape == (2, 4, 3, 96, 96)
    assert (rows["full"] - rows["plain"]).abs().mean() > 1
    assert (rows["full"] - rows["other"]).abs().mean() > 1
    # `users` selects the other agent's embedding.
    others = agents.other_agents()
    swapped = ALL_CONDITIONS["other"].users(agents.users, others)
    assert torch.equal(swapped.sem[0], agents.users.sem[others[0]])
    mixed = ALL_CONDITIONS["swap_core"].users(agents.users, others)
    assert torch.equal(mixed.core, agents.users.core[others])
    assert torch.equal(mixed.sem, agents.users.sem)
    assert ALL_CONDITIONS["img_only"].strengths(1.5) == {"sem": 0.0, "core": 0.0, "img": 1.5}
    # Another strength gives another picture with another cache key.
    stronger = CachedGenerator(model, tmp_path, 3.0, Sampling(steps=2)).generate(
        agents, "full", ALL_CONDITIONS["full"], two
    )
    assert (stronger.float() - rows["full"]).abs().mean() > 1


def test_nobodys_history_shows_what_is_asked(agents, gallery):
    asked = {ATTRIBUTES["subject"][name] for name in HELD_OUT_SUBJECTS}
    assert not asked & {pair.prompt for history in agents.histories for pair in history.pairs}
    assert {SUBJECTS[i] for i in agents.subjects.ravel()} == set(HELD_OUT_SUBJECTS)
    for prompts, subjects in zip(agents.prompts, agents.subjects, strict=True):
        assert all(ATTRIBUTES["subject"][SUBJECTS[i]] in prompt for prompt, i in zip(prompts, subjects, strict=True))
        assert len(set(subjects)) == 2
    assert len(np.unique(agents.seeds)) == agents.seeds.size
    assert (agents.poster_attributes[..., 0] == agents.subjects).all()


def test_agents_like_their_posters(world, gallery, model):
    rng = np.random.default_rng(4)
    utilities, groups = world.sample(20, rng)
    made = draw_agents(model, world, gallery, utilities, groups, rng)
    anything = gallery.attributes[rng.integers(len(gallery.attributes), size=made.subjects.shape)]
    liked = utility_of(utilities[:, None], made.poster_attributes)
    assert liked.mean() > utility_of(utilities[:, None], anything).mean() + 1
    others = made.other_agents()
    assert sorted(others) == list(range(20)), "the assignment is a permutation"
    largest = np.bincount(groups).max()
    assert largest <= 10
    assert (groups[others] != groups).all()
    both = Agents.concatenate([made.select([0, 1]), made.select([2])])
    assert both.digest == made.select([0, 1, 2]).digest != made.digest


def test_favourites_are_written_behind_the_prompt(agents):
    for utilities, prompts, own in zip(agents.utilities, agents.prompts_with_favourites(), agents.prompts, strict=True):
        scenes = list(ATTRIBUTES["scene"].values())
        assert all(
            text.startswith(f"{prompt} {scenes[utilities[:3].argmax()]}, ")
            for text, prompt in zip(prompts, own, strict=True)
        )


def test_style_is_of_the_style():
    rng = np.random.default_rng(0)
    first = random_indices((40,), rng)
    other_subject, other_style = first.copy(), random_indices((40,), rng)
    other_subject[:, 0] = (first[:, 0] + 5) % 12
    other_style[:, 0] = first[:, 0]
    drawn = [(draw_all(rows, rng) * 255).byte() for rows in (first, other_subject, other_style)]
    eyes = PocketFeatures(torch.cat(drawn))
    seen = [x / np.linalg.norm(x, axis=1, keepdims=True) for _, x in map(eyes.embed_with_style, drawn)]
    same_style, same_subject = ((seen[0] * other).sum(1).mean() for other in seen[1:])
    assert same_style > same_subject + 0.2


@pytest.fixture
def published(tmp_path):
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(**sizes, image_size=32, patch_size=16, projection_dim=8)
    model = CLIPVisionModelWithProjection(config)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    return model, tmp_path


def test_a_published_clip_is_read_from_a_folder(published):
    model, folder = published
    model.save_pretrained(folder)
    images = torch.randint(0, 256, (2, 3, 3, 96, 96), dtype=torch.uint8)
    seen = PublishedClip(folder).embed(images)
    assert seen.shape == (2, 3, 8)
    assert np.linalg.norm(seen, axis=-1) == pytest.approx(np.ones((2, 3)), abs=1e-5)


def test_no_figure_comes_from_random_weights(published, tmp_path):
    model, folder = published
    state = {name: tensor for name, tensor in model.state_dict().items() if "visual_projection" not in name}
    model.save_pretrained(folder, state_dict=state)
    with pytest.raises(ModelError, match="lacks 1 tensors"):
        PublishedClip(folder)
    with pytest.raises(ModelError, match="another folder"):
        PublishedClip(tmp_path / "nothing")


def test_an_ablation_is_trained_once(tmp_path, monkeypatch):
    few = partial(adapter_variants.latent_pool, count=64)
    for module in (adapter_variants, projected):
        monkeypatch.setattr(module, "latent_pool", few)
    monkeypatch.setattr(projected, "AGENTS", 3)
    monkeypatch.setattr(align, "POSTERS", 48)
    trained, train = [], partial(align.train, users=50)
    monkeypatch.setattr(align, "train", lambda *a, **k: trained.append(k["objective"]) or train(*a, **k))
    trainings = AdapterTrainings(tmp_path, steps=1, align_steps=1)
    made = trainings.model("attention")
    assert made.header["adapter"]["fusion"] == "attention"
    assert made.header["training"]["adapter"]["steps"] == 1
    assert trainings.model("attention").fingerprint == made.fingerprint
    assert trained == ["mmd"], "a variant is trained once"
    shipped = adapter_variants.load_preference_model("pocket")
    assert made.encoder_fingerprint == shipped.encoder_fingerprint, "it encodes histories like the shipped model"
