"""Bad input to the nodes that read a taste: one clear message in the node's error, and a server that goes on."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from tests.comfyui import Graph
from tests.nodes import taste
from tests.prefgen import checkpoints

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def revision(server):
    return taste.write_tiny(server)


@pytest.fixture
def bad(server, revision):
    """Where to put a bad checkpoint; it is taken away afterwards."""
    path = taste.folder_of(server) / "bad.safetensors"
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("side", ["liked", "disliked"])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("nan", ["has NaN or infinite pixels", "Check the node that made it"]),
        ("inf", ["has NaN or infinite pixels"]),
        ("rank 3", ["has shape (24, 24, 3)", "expected an IMAGE of shape (batch, height, width, 3)"]),
        ("rank 5", ["has shape (1, 2, 24, 24, 3)", "expected an IMAGE"]),
        ("one channel", ["has shape (2, 24, 24, 1)", "expected an IMAGE"]),
    ],
)
def test_images_of_a_history(comfy, revision, side, fault, expected):
    graph = Graph()
    built = taste.history(graph, **{side: taste.noise(graph, fault)})
    taste.scored(graph, history=built)
    name = f"The {side} image of a pair" if fault in ("nan", "inf") else f"The input {side}"
    taste.refused(comfy, graph, "BuildUserHistory", name, *expected)


@pytest.mark.parametrize("given", ["name", "prompts"])
def test_half_a_character_in_a_history(comfy, revision, given):
    graph = Graph()
    taste.scored(graph, history=taste.history(graph, **{given: "\ud800"}))
    taste.refused(comfy, graph, "BuildUserHistory", f"{given} contains an unpaired surrogate")


def test_half_a_character_in_a_prompt_to_score_for(comfy, revision):
    graph = Graph()
    taste.scored(graph, prompt="\ud800")
    taste.refused(comfy, graph, "PreferenceScore", "prompt contains an unpaired surrogate")


def test_an_empty_history(comfy, revision):
    graph = Graph()
    built = taste.history(graph, liked=taste.noise(graph, "empty"), disliked=taste.noise(graph, "empty"))
    taste.scored(graph, history=built)
    taste.refused(comfy, graph, "BuildUserHistory", "history of 'ada' has no pairs", "expected at least one")


def test_batches_of_unequal_length(comfy, revision):
    graph = Graph()
    taste.scored(graph, history=taste.history(graph, disliked=taste.noise(graph, batch=5)))
    taste.refused(comfy, graph, "BuildUserHistory", "Found 2 liked and 5 disliked images", "expected equal numbers")


def test_too_few_prompts(comfy, revision):
    graph = Graph()
    images = {side: taste.noise(graph, batch=3) for side in ("liked", "disliked")}
    taste.scored(graph, history=taste.history(graph, prompts="a cat\na dog", **images))
    taste.refused(comfy, graph, "BuildUserHistory", "There are 2 prompts; expected 3, one for each pair")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("nan", "has NaN or infinite pixels"),
        ("rank 3", "has shape (24, 24, 3); expected an IMAGE"),
        ("empty", "images has no image; expected at least one"),
    ],
)
def test_images_to_score(comfy, revision, fault, expected):
    graph = Graph()
    taste.scored(graph, images=taste.noise(graph, fault))
    taste.refused(comfy, graph, "PreferenceScore", expected)


@pytest.mark.parametrize(
    "prompt", ["", "a cat " * 1700, "<image>", "<im<image>age>", "User:<image>a dog Assistant: +<end_of_utterance>"]
)
def test_prompts_of_any_length_and_content(comfy, revision, prompt):
    """Empty, 10,200 characters, or full of the template's own tokens: a score, by words that are left, if any."""
    graph = Graph()
    built = taste.history(graph, prompts=prompt)
    node = taste.scored(graph, history=built, prompt=prompt)
    scores = comfy.run(graph).of(node)["scores"]
    assert len(scores) == 3
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("size", [1, 3000])
def test_images_of_one_pixel_and_of_thousands(comfy, revision, size):
    graph = Graph()
    images = graph.add("ProbeImage", fault="none", batch=1, size=size, seed=1)
    node = taste.scored(graph, images=images, history=taste.history(graph, liked=images, disliked=images))
    assert len(comfy.run(graph).of(node)["scores"]) == 1


def refused_checkpoint(comfy, bad, *expected, node="LoadPreferenceModel"):
    graph = Graph()
    taste.scored(graph, checkpoint=bad.name)
    taste.refused(comfy, graph, node, "bad.safetensors", *expected)


def test_a_truncated_checkpoint(comfy, bad):
    data = (bad.parent / taste.CHECKPOINT).read_bytes()
    bad.write_bytes(data[: len(data) // 2])
    refused_checkpoint(comfy, bad, "is not a complete .safetensors file", "Download it again")


def test_a_checkpoint_that_is_not_ours(comfy, bad):
    save_file({"lora_unet.weight": torch.zeros(2)}, bad)
    refused_checkpoint(comfy, bad, "has no PrefGen header; expected a PrefGen preference checkpoint")


def test_a_checkpoint_that_is_no_safetensors(comfy, bad):
    bad.write_bytes(b"\x80\x02}q\x00." * 9)
    refused_checkpoint(comfy, bad, "is not a complete .safetensors file")


def test_a_checkpoint_with_a_flipped_byte(comfy, bad):
    data = bytearray((bad.parent / taste.CHECKPOINT).read_bytes())
    data[-1] ^= 1
    bad.write_bytes(data)
    refused_checkpoint(comfy, bad, "does not match its fingerprint")


def test_a_checkpoint_without_prefdisc(comfy, bad, revision):
    checkpoints.write_checkpoint(bad, revision, parts=("alignment", "adapter"))
    expected = "has no prefdisc part (it has: alignment, adapter)", "Choose one with prefdisc"
    refused_checkpoint(comfy, bad, *expected, node="PreferenceScore")
    graph = Graph()
    model = graph.add("LoadPreferenceModel", checkpoint=bad.name)
    embedding = graph.add("EncodeUserHistory", preference_model=model, history=taste.history(graph))
    graph.add("PreviewAny", source=embedding)
    taste.refused(comfy, graph, "EncodeUserHistory", *expected)


def test_a_checkpoint_of_another_base(comfy, bad, revision):
    checkpoints.write_checkpoint(bad, revision, parts=("prefdisc",), base="HuggingFaceM4/idefics2-8b")
    refused_checkpoint(comfy, bad, "needs the base model 'HuggingFaceM4/idefics2-8b', which is not on this machine")


def test_a_checkpoint_of_another_revision_of_the_base(comfy, bad):
    checkpoints.write_checkpoint(bad, "0123", parts=("prefdisc",))
    refused_checkpoint(comfy, bad, "the base model 'tests/tiny'", "expected 0123", "of the same release")


def test_a_base_model_in_place_of_a_checkpoint(comfy, bad):
    shutil.copy(bad.parent / "base" / "tiny" / "base.safetensors", bad)
    refused_checkpoint(comfy, bad, "is a PrefGen 'base model'; expected a PrefGen 'preference checkpoint'")
