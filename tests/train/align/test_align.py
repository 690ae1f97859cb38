"""The alignment's training: crowds, objectives, what is measured, and the early notice of a collapse."""

import dataclasses
import json

import pytest
import torch

from prefgen.checkpoint.file import read_checkpoint
from prefgen.errors import EmbeddingError, HistoryError
from prefgen.losses import mmd
from tests.prefgen.checkpoints import TEXT_DIM, write_base, write_checkpoint
from tests.train.prefdisc.sets import write_users
from train.align import __main__ as command
from train.align.collapse import AlignmentCollapse, CollapseDetector
from train.align.config import AlignConfig, CollapseConfig
from train.align.dataset import liked_attributes, user_texts
from train.align.fit import train_alignment
from train.align.metrics import dispersion, retrieval
from train.align.objectives import build_objective
from train.align.similar_users import sample_similar_users
from train.align.user_table import UserTable
from train.loop import LoopConfig, generator_of
from train.prefdisc.dataset import read_users
from train.settings import SettingsError, read_settings

LOOP = LoopConfig(steps=120, learning_rate=1e-2, warmup=5, ema=0.9)
CONFIG = AlignConfig(LOOP, batch=32, groups=2, hidden_dim=32)


def make_table(users: int = 240, noise: float = 0.3) -> UserTable:
    """Users whose text is a function of four tastes, which `sem` shows with some noise."""
    generator = torch.Generator().manual_seed(0)
    likes = torch.randint(3, (users, 4), generator=generator)
    words = torch.randn(4, 3, 12, generator=generator)
    texts = torch.stack([words[i, likes[:, i]] for i in range(4)]).sum(0) + 2
    shown = torch.nn.functional.one_hot(likes, 3).flatten(1).float()
    sem = shown + noise * torch.randn(shown.shape, generator=generator)
    return UserTable(sem, sem.flip(1), texts, likes)


def test_a_crowd_shares_a_favourite():
    table = make_table(400)
    for step in range(10):
        crowd = sample_similar_users(table.likes, table.texts, 32, generator_of(1, step))
        assert len(crowd) == len(set(crowd.tolist())) == 32
        assert any(len(set(table.likes[crowd, i].tolist())) == 1 for i in range(4))


def test_a_crowd_is_never_of_one():
    likes = torch.arange(6)[:, None].expand(-1, 5)
    assert all(len(sample_similar_users(likes, torch.randn(6, 3), 4, generator_of(0, step))) == 2 for step in range(20))


def test_without_known_attributes_a_crowd_is_whose_texts_are_near():
    table = make_table()
    crowd = sample_similar_users(table.likes[:, :0], table.texts, 16, generator_of(0, 0))
    distances = torch.cdist(table.texts[crowd[:1]], table.texts)[0]
    others = torch.ones(len(table), dtype=torch.bool)
    others[crowd] = False
    assert distances[crowd].max() <= distances[others].min()


def test_retrieval_of_the_texts_themselves_and_of_noise():
    text, noise = torch.randn(2, 200, 32, generator=torch.Generator().manual_seed(0))
    assert retrieval(text, text)["rank"] == pytest.approx(1)
    assert retrieval(noise, text)["rank"] == pytest.approx(0.5, abs=0.05)  # three standard errors of 200 users


def test_apartness_counts_spread_and_directions():
    points = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    assert dispersion(points / 2, points) == {"spread": 0.5, "directions": 1.0}
    line = points[:, :1] * torch.ones(8)
    assert dispersion(line, points)["directions"] == pytest.approx(1 / 8, abs=0.01)  # 400 points are not quite round
    assert dispersion(torch.zeros(400, 8), points)["spread"] == 0


def test_the_objective_is_mmd_by_either_kernel_or_pointwise():
    mapped, texts = torch.randn(2, 16, 12, generator=torch.Generator().manual_seed(0))
    for kernel in ("rbf", "imq"):
        loss = build_objective(dataclasses.replace(CONFIG, kernel=kernel))
        assert torch.equal(loss([mapped], [texts]), mmd(mapped, texts, kernel))
    for name in ("mse", "cosine"):
        loss = build_objective(dataclasses.replace(CONFIG, objective=name))
        # 1e-6: rounding of float32
        assert loss([texts], [texts]) == pytest.approx(0, abs=1e-6)
        assert loss([mapped], [texts]) != loss([mapped], [texts.roll(1, 0)])


@pytest.mark.parametrize("name", ["mmd", "mse", "cosine"])
def test_every_objective_finds_users_their_texts(name, tmp_path):
    _, found = train_alignment(make_table(), dataclasses.replace(CONFIG, objective=name), tmp_path)
    # Chance is 0.5, with an error of 0.05 for 40 held-out users; MMD, which knows crowds only, learns slowest (0.66).
    assert found["rank"] > 0.6
    assert found["collapsed_at"] is None


def test_core_can_be_aligned_as_well(tmp_path):
    alignment, found = train_alignment(
        make_table(), dataclasses.replace(CONFIG, part="core", objective="mse"), tmp_path
    )
    assert alignment.config.sem_dim == 12
    assert found["rank"] > 0.7


def test_a_collapse_is_noticed_early_and_ends_the_training(tmp_path):
    """With nothing to be read out of `sem`, point-wise errors are least where everybody is at the texts' mean."""
    table = make_table()
    blind = dataclasses.replace(table, sem=torch.randn(table.sem.shape, generator=torch.Generator().manual_seed(1)))
    watched = CollapseConfig(spread=0.5, grace=40, every=5, patience=2, stop=True)
    with pytest.raises(AlignmentCollapse, match=r"at least 50%.*Use objective=mmd"):
        train_alignment(blind, dataclasses.replace(CONFIG, objective="mse", collapse=watched), tmp_path / "stopped")
    going_on = dataclasses.replace(watched, stop=False)
    _, found = train_alignment(blind, dataclasses.replace(CONFIG, objective="mse", collapse=going_on), tmp_path / "mse")
    assert found["collapsed_at"] < LOOP.steps / 2
    _, found = train_alignment(blind, dataclasses.replace(CONFIG, collapse=going_on), tmp_path / "mmd")
    assert found["collapsed_at"] is None, "MMD keeps the crowd's spread, whatever it knows of each user"


def test_the_watch_forgives_what_recovers():
    texts = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    watch = CollapseDetector(CollapseConfig(grace=0, every=1, patience=2, stop=True), texts, texts)
    for step, scale in enumerate([0.01, 1.0, 0.01, 1.0]):
        watch.check(lambda x, scale=scale: x * scale, step)
    assert watch.collapse_step is None
    watch.check(lambda x: x * 0.01, 4)
    with pytest.raises(AlignmentCollapse):
        watch.check(lambda x: x * 0.01, 5)


def test_a_table_that_cannot_be_used_is_refused():
    table = make_table(10)
    with pytest.raises(EmbeddingError, match="expected the same number for all"):
        dataclasses.replace(table, texts=table.texts[:-1])
    with pytest.raises(EmbeddingError, match="core of the user table contains NaN"):
        dataclasses.replace(table, core=table.core * float("nan"))


def test_settings_name_what_is_wrong():
    assert read_settings(AlignConfig, "align", "pocket", ["loop.learning_rate=1e-5"]).loop.learning_rate == 1e-5
    with pytest.raises(SettingsError, match=r"objective is 'mmmd'.*'mmd', 'mse' or 'cosine'"):
        read_settings(AlignConfig, "align", "sdxl", ["objective=mmmd"])
    with pytest.raises(SettingsError, match=r"loop.stepps.*loop.steps"):
        read_settings(AlignConfig, "align", "sdxl", ["loop.stepps=1"])
    with pytest.raises(SettingsError, match="one of pocket, sdxl"):
        read_settings(AlignConfig, "align", "nothing")


def test_a_set_on_disk_becomes_a_checkpoints_alignment(tmp_path, monkeypatch):
    import train.pocket.clip

    revision = write_base(tmp_path / "bases")
    checkpoint = write_checkpoint(tmp_path / "p.safetensors", revision, ("prefdisc",))
    texts = torch.Generator().manual_seed(0)
    monkeypatch.setattr(train.pocket.clip, "encode_text", lambda t: torch.randn(len(t), TEXT_DIM, generator=texts))
    given = ["--config", "pocket", "--checkpoint", str(checkpoint), "--users", str(write_users(tmp_path / "set", 9))]
    given += ["--bases", str(tmp_path / "bases")]
    found = command.main([*given, "--folder", str(tmp_path / "out"), "loop.steps=2", "hidden_dim=16"])
    assert found["collapsed_at"] is None
    written = read_checkpoint(checkpoint)
    assert written.has("prefdisc")
    assert written.header["alignment"] == {"sem_dim": 32, "text_dim": TEXT_DIM, "hidden_dim": 16, "layers": 6}
    assert written.header["training"]["alignment"]["objective"] == "mmd"


def test_a_users_texts_are_their_attributes_or_their_prompts(tmp_path):
    user = read_users(write_users(tmp_path / "set"), "train")[0]
    assert user_texts(user, {}) == ["a cat", "the red house on a dog"]
    (tmp_path / "set" / "agents.json").write_text(json.dumps({"agents": [{"user": "u0", "liked": ["palette: neon"]}]}))
    assert user_texts(user, liked_attributes(tmp_path / "set")) == ["palette: neon"]
    with pytest.raises(HistoryError, match="u0"):
        user_texts(dataclasses.replace(user, pairs=()), {})
