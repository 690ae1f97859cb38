"""The adapter's training on a set on disk and an SDXL in diffusers' parts: all of it, tiny."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch

from prefgen.alignment import Alignment, AlignmentConfig
from prefgen.checkpoint.file import read_checkpoint, write_part
from prefgen.errors import EmbeddingError, HistoryError, ModelError
from tests.prefgen.checkpoints import write_base, write_checkpoint
from tests.prefgen.test_adapter import make_unet
from tests.train.prefdisc.sets import write_users
from train.adapter import __main__ as command
from train.adapter.dataset import encode_users
from train.adapter.sdxl import SDXL, load_sdxl
from train.settings import SettingsError


def letters(captions, **_):
    """A tokenizer of letters, padded to 77."""
    rows = [[ord(letter) % 50 for letter in caption][:77] for caption in captions]
    return SimpleNamespace(input_ids=torch.tensor([row + [0] * (77 - len(row)) for row in rows]))


def tiny_sdxl() -> SDXL:
    from diffusers import AutoencoderKL, DDPMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    common = {"num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32, "vocab_size": 50}
    low = CLIPTextModel(CLIPTextConfig(hidden_size=64, **common))
    high = CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=128, projection_dim=128, **common))
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        scaling_factor=0.13025,
    )
    parts = [module.requires_grad_(False).eval() for module in (make_unet(), vae, low, high)]
    return SDXL(parts[0], parts[1], DDPMScheduler(), (parts[2], parts[3]), (letters, letters))


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A checkpoint with PrefDisc and an alignment, a set of users with ten pairs, and the command line for them."""

    checkpoint = write_checkpoint(tmp_path / "p.safetensors", write_base(tmp_path / "bases"), ("prefdisc",))
    config = AlignmentConfig(32, 128, hidden_dim=16)
    write_part(checkpoint, "alignment", asdict(config), Alignment(config).state_dict())
    monkeypatch.setattr(command, "load_sdxl", lambda *_: tiny_sdxl())
    write_users(tmp_path / "set", train=3, pairs=10)
    line = ["--checkpoint", str(checkpoint), "--users", str(tmp_path / "set"), "--sdxl", "anything"]
    line += [
        "--bases",
        str(tmp_path / "bases"),
        "--folder",
        str(tmp_path / "out"),
        "loop.steps=2",
        "loop.warmup=1",
        "batch=2",
        "size=24",
        "img_tokens=0",
    ]
    return checkpoint, line


def test_a_set_becomes_a_checkpoints_adapter(given, capsys):
    checkpoint, line = given
    command.main([*line, "fusion=attention", "hidden=8"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["users"] == 3
    written = read_checkpoint(checkpoint)
    header = written.header["adapter"]
    assert (header["sem_tokens"], header["img_tokens"], header["hidden"]) == (2, 0, 8)
    assert header["fusion"] == "attention"
    assert len(header["blocks"]) == 11
    assert written.header["training"]["adapter"]["steps"] == 2
    assert written.has("prefdisc"), "and what was there before is there"


def test_core_is_aligned_by_a_file_of_its_own(given, tmp_path):
    checkpoint, line = given
    with pytest.raises(SettingsError, match="--core-alignment"):
        command.main([*line, "core_aligned=true"])
    config = AlignmentConfig(32, 128, hidden_dim=16)
    own = Alignment(config)
    write_part(tmp_path / "core.safetensors", "alignment", asdict(config), own.state_dict())
    command.main([*line, "--core-alignment", str(tmp_path / "core.safetensors"), "core_aligned=true"])
    kept = read_checkpoint(checkpoint).part("adapter")["core_alignment.output.weight"]
    # Half precision: the adapter's training leaves alignments as they are.
    assert torch.equal(kept, own.output.weight.half())


def test_a_set_with_captions_teaches_what_they_say(given, tmp_path, monkeypatch):
    checkpoint, line = given
    sdxl = tiny_sdxl()
    said, texts = [], SDXL.encode_text
    monkeypatch.setattr(SDXL, "encode_text", lambda self, captions: said.append(captions) or texts(self, captions))
    monkeypatch.setattr(command, "load_sdxl", lambda *_: sdxl)
    with pytest.raises(HistoryError, match=r"6 liked images have no caption \(for example 0-8-liked.png\)"):
        command.main([*line, "target=caption"])
    listing = tmp_path / "set" / "users.jsonl"
    rows = [json.loads(row) for row in listing.read_text().splitlines()]
    for row in rows:
        for pair in row["pairs"]:
            pair["caption"] = f"{pair['prompt']}, in red"
    listing.write_text("\n".join(map(json.dumps, rows)) + "\n")
    trained = {}
    quick = ["loop.steps=4", "loop.learning_rate=1e-2", "loop.ema=0"]
    for target in ("caption", "image"):
        command.main([*line, *quick, f"target={target}", "--folder", str(tmp_path / target)])
        trained[target] = read_checkpoint(checkpoint).part("adapter")
    taught_by = {caption for captions in said[1:8:2] for caption in captions}
    assert taught_by
    assert all(caption.endswith(", in red") for caption in taught_by)
    assert any(not torch.equal(tensor, trained["image"][name]) for name, tensor in trained["caption"].items())


def test_a_liked_image_to_be_painted_is_in_no_history(given, tmp_path):
    from prefgen.checkpoint.preference_model import load_preference_model

    checkpoint, _ = given
    model = load_preference_model(checkpoint, base_folders=[tmp_path / "bases"])
    encoded = encode_users(model, tmp_path / "set", tmp_path / "kept.safetensors")
    assert [[pair.liked.name for pair in pairs] for pairs in encoded.liked] == [
        [f"{user}-8-liked.png", f"{user}-9-liked.png"] for user in range(3)
    ]
    assert encoded.parts.sem.shape == (3, 32)
    with pytest.raises(EmbeddingError, match="img_tokens=0"):
        encoded.dim("img")


def test_an_alignment_of_another_text_space_is_refused(given):
    checkpoint, line = given
    config = AlignmentConfig(32, 12, hidden_dim=16)
    write_part(checkpoint, "alignment", asdict(config), Alignment(config).state_dict())
    with pytest.raises(ModelError, match=r"text width is 12; expected 128"):
        command.main(line)


def test_a_folder_that_is_no_sdxl_is_named(tmp_path):
    (tmp_path / "unet").mkdir()
    with pytest.raises(ModelError, match=r"has no vae, scheduler, text_encoder"):
        load_sdxl(tmp_path)
