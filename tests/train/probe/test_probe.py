"""The probes: what they read, which layers they choose, and what the command writes."""

import json

import numpy as np
import pytest
import torch

from prefgen.checkpoint.file import read_checkpoint
from prefgen.errors import CheckpointError, HistoryError
from prefgen.history import PreferencePair, UserHistory
from tests.prefgen import tiny
from tests.prefgen.checkpoints import write_base, write_checkpoint
from tests.train.prefdisc.sets import write_users
from train.evaluate.statistics import Estimate
from train.probe import __main__ as command
from train.probe.hidden_states import ProbeConfig, ProbeStates, collect_states
from train.probe.layer_selection import default_layers, select_layers
from train.probe.linear_probe import LayerAccuracy, probe_layers
from train.probe.users import read_probe_users

PROMPTS = ("a cat", "the red house on a dog", "")


def make_pairs(count: int, seed: int) -> list[PreferencePair]:
    images = torch.rand(count, 2, 3, 24, 24, generator=torch.Generator().manual_seed(seed))
    return [PreferencePair(*two, PROMPTS[i % 3]) for i, two in enumerate(images)]


def test_a_historys_state_is_the_one_that_embeddings_are_made_of():
    prefdisc, pairs = tiny.prefdisc(), make_pairs(4, 0)
    # One pair a history and two in each half: which is drawn can be told from the state.
    learn, _ = collect_states(prefdisc, [pairs, make_pairs(4, 1)], ProbeConfig(pairs=1, histories=1))
    alone = [prefdisc.encode(UserHistory((pair,), "u")).hidden for pair in pairs]
    nearest = min(float((learn.histories[0].float() - hidden).abs().max() / hidden.abs().max()) for hidden in alone)
    assert nearest < 2e-3  # kept in half precision


def test_the_halves_share_no_image_and_every_user_counts_alike():
    states = collect_states(tiny.prefdisc(), [make_pairs(8, 0), make_pairs(8, 1)], ProbeConfig(pairs=3, histories=5))
    for half in states:
        assert half.histories.shape == (10, 5, tiny.WIDTH)
        assert half.targets.shape == (20, 5, tiny.WIDTH)
        assert np.bincount(half.user).tolist() == [5, 5]
        assert half.liked.reshape(-1, 2).sum(1).tolist() == [1] * 10
    both = torch.cat([half.targets[:, -1] for half in states])
    assert len(both.unique(dim=0)) == len(states[0].targets[:, -1].unique(dim=0)) + len(
        states[1].targets[:, -1].unique(dim=0)
    )


def test_a_user_with_too_few_pairs_is_named():
    with pytest.raises(ValueError, match=r"User 1 has 5 pairs; expected at least 8"):
        collect_states(tiny.prefdisc(), [make_pairs(8, 0), make_pairs(5, 1)], ProbeConfig(pairs=3, histories=1))


def synthetic(seed: int, users: int = 6, each: int = 20) -> ProbeStates:
    """Three layers: noise, one that knows the user, one that knows what is liked."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), each)
    histories = rng.normal(size=(len(user), 3, 8))
    histories[:, 1] += 4 * np.random.default_rng(9).normal(size=(users, 8))[user]
    liked = np.tile([True, False], len(user))
    targets = rng.normal(size=(len(liked), 3, 8))
    targets[:, 2, 0] += 6 * liked
    as_half = [torch.from_numpy(x).half() for x in (histories, targets)]
    return ProbeStates(as_half[0], user, as_half[1], liked, np.repeat(user, 2))


def test_the_probes_find_the_layer_that_knows():
    found = probe_layers(synthetic(0), synthetic(1))
    assert found.chance == pytest.approx(1 / 6)
    assert found.inter[1].value > 0.95
    assert found.intra[2].value > 0.95
    # 120 answers: three standard errors are 0.1 of users and 0.14 of likes.
    assert found.inter[0].value < 1 / 6 + 0.15
    assert abs(found.intra[0].value - 0.5) < 0.15
    assert select_layers(found) == ((2,), (1,))


def accuracies(*values: float) -> list[Estimate]:
    return [Estimate(value, 0.01, value - 0.02, value + 0.02, 30) for value in values]


def test_layers_about_the_best_are_chosen_and_no_others():
    inter = accuracies(*[0.1] * 8, *[0.6] * 13, *[0.2] * 12)
    intra = accuracies(*[0.5] * 29, *[0.7] * 4)
    found = LayerAccuracy(inter, intra, 1 / 30)
    assert select_layers(found) == (tuple(range(29, 33)), tuple(range(8, 21)))
    # Where all are alike, the shares of the paper bound how many there are.
    alike = LayerAccuracy(accuracies(*[0.6] * 33), accuracies(*[0.7] * 33), 1 / 30)
    sem, core = select_layers(alike)
    assert (len(sem), len(core), sem[-1]) == (4, 13, 32)


def test_the_papers_layers_are_the_defaults():
    assert default_layers(32) == ((29, 30, 31, 32), tuple(range(8, 21)))


def test_chosen_layers_are_written_where_nothing_was_made_for_others(tmp_path):
    base = write_checkpoint(tmp_path / "whole.safetensors", write_base(tmp_path / "bases"))
    told = [{"value": 0.5}] * 5
    result = {"sem_layers": [4], "core_layers": [2], "users": 30, "chance": 1 / 30}
    result |= {"inter_user": told, "intra_user": told}
    written = command.write_layers(tmp_path / "new.safetensors", read_checkpoint(base), result)
    assert (written.header["prefdisc"]["sem_layers"], written.header["prefdisc"]["core_layers"]) == ([4], [2])
    assert written.header["training"]["probe"]["inter_user"] == [0.5] * 5
    assert not written.has("adapter")
    with pytest.raises(CheckpointError, match=r"The alignment and adapter of .* use layers \(3, 4\)"):
        command.write_layers(base, read_checkpoint(base), result)
    same = {**result, "sem_layers": [3, 4], "core_layers": [1, 2]}
    assert command.write_layers(base, read_checkpoint(base), same).has("adapter")


def test_the_command_reads_a_set_and_writes_table_picture_and_header(tmp_path, capsys):
    checkpoint = write_checkpoint(tmp_path / "p.safetensors", write_base(tmp_path / "bases"), ("prefdisc",))
    write_users(tmp_path / "set", train=3, pairs=6)
    given = ["--checkpoint", str(checkpoint), "--set", str(tmp_path / "set"), "--split", "train", "--pairs", "6"]
    given += [
        "--bases",
        str(tmp_path / "bases"),
        "--history",
        "2",
        "--histories",
        "3",
        "--out",
        str(tmp_path / "out"),
        "--write",
        str(checkpoint),
    ]
    found = command.main(given)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert found["users"] == 3
    assert read_checkpoint(checkpoint).header["prefdisc"]["sem_layers"] == found["sem_layers"]
    assert "| 4 |" in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "picture.png").stat().st_size > 10_000
    with pytest.raises(HistoryError, match="at least 7 pairs in split 'train'"):
        read_probe_users(tmp_path / "set", "train", 3, 7)
