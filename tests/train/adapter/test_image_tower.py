"""An image tower of one's own: read from a CLIP folder or open_clip, written into the checkpoint, used by its file."""

import json

import pytest
import torch

from prefgen.checkpoint.file import read_checkpoint
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.embedding import encode_user
from prefgen.errors import CheckpointError
from tests.prefgen import tiny
from tests.prefgen.checkpoints import write_base, write_checkpoint
from train.adapter.image_tower import add_image_tower
from train.tiny_sdxl import write_clip


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "p.safetensors", write_base(tmp_path / "bases"), ("prefdisc",))


def test_a_clip_folder_gives_the_embeddings_of_its_own_processor(checkpoint, tmp_path):
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    folder = write_clip(tmp_path / "clip")
    add_image_tower(checkpoint, str(folder))
    model = load_preference_model(checkpoint, base_folders=[tmp_path / "bases"])
    images = torch.rand(2, 3, 40, 56)
    reads = CLIPImageProcessor.from_pretrained(folder)
    pixels = reads(list(images), do_rescale=False, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        theirs = CLIPVisionModelWithProjection.from_pretrained(folder)(pixels).image_embeds
        ours = model.image_tower(images)
    # The checkpoint stores half precision.
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 0.999
    embedding = encode_user(model, tiny.history(2))
    assert embedding.img.shape == (theirs.shape[1],)
    assert read_checkpoint(checkpoint).header["image_tower"]["source"] == "clip"


def test_an_open_clip_model_gives_its_own_embeddings(checkpoint, tmp_path):
    import open_clip

    sizes = {"layers": 2, "width": 32, "head_width": 16}
    config = {
        "embed_dim": 12,
        "vision_cfg": {**sizes, "image_size": 24, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-tower.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-tower.json")
    torch.manual_seed(0)
    theirs = open_clip.create_model("tiny-tower")
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    add_image_tower(checkpoint, f"tiny-tower:{tmp_path / 'weights.pt'}")
    model = load_preference_model(checkpoint, base_folders=[tmp_path / "bases"])
    images = torch.rand(3, 3, 24, 24)
    mean, std = (torch.tensor(theirs.visual.preprocess_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        expected = theirs.encode_image((images - mean) / std, normalize=True)
        assert torch.nn.functional.cosine_similarity(model.image_tower(images), expected).min() > 0.999


def test_writing_it_again_changes_nothing_and_another_one_is_refused(checkpoint, tmp_path):
    folder = write_clip(tmp_path / "clip")
    first = add_image_tower(checkpoint, str(folder))
    assert add_image_tower(checkpoint, str(folder)).fingerprint == first.fingerprint
    with pytest.raises(CheckpointError, match=r"has the image tower 'clip'; this run has '.*other'"):
        add_image_tower(checkpoint, str(write_clip(tmp_path / "other", seed=1)))


@pytest.mark.parametrize("source", ["nothing", "ViT-H-99:laion", "ViT-B-32", "empty"])
def test_what_is_no_image_tower_is_named(checkpoint, tmp_path, source):
    (tmp_path / "empty").mkdir()
    source = str(tmp_path / source) if source == "empty" else source
    before = checkpoint.read_bytes()
    with pytest.raises(CheckpointError, match=r"cannot be read.*ViT-H-14:laion2b_s32b_b79k"):
        add_image_tower(checkpoint, source)
    assert checkpoint.read_bytes() == before


def test_a_tower_without_projection_is_refused(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_clip(tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 1 tensors of a CLIP image encoder with projection"):
        add_image_tower(checkpoint, str(folder))
