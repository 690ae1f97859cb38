"""LoadPreferenceModel, BuildUserHistory, LoadUserHistory, EncodeUserHistory and PreferenceScore on the real server."""

import numpy as np
import pytest
import torch

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.history import UserHistory
from tests.comfyui import Graph
from tests.nodes import taste

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", autouse=True)
def _tiny(server):
    taste.write_tiny(server)


def probe(batch: int, seed: int) -> torch.Tensor:
    """What the ProbeImage node makes, as the library holds it."""
    return torch.rand(batch, 24, 24, 3, generator=torch.Generator().manual_seed(seed)).movedim(-1, 1)


def test_scores_are_the_librarys_and_sorted(comfy):
    graph = Graph()
    node = taste.scored(graph)
    best, ranked, chart = (graph.add("ProbeSave", value=node[i]) for i in (2, 3, 4))
    result = comfy.run(graph)
    folder = taste.folder_of(comfy.server)
    model = load_preference_model(folder / taste.CHECKPOINT, base_folders=[folder / "base"])
    prefix = model.prefdisc.encode(UserHistory.from_images(probe(2, 0), probe(2, 1), ["a cat"]))
    expected = model.prefdisc.score(prefix, probe(3, 9), "a cat")
    shown = result.of(node)
    assert shown["scores"] == pytest.approx(expected.tolist(), abs=1e-5)
    assert shown["ranking"] == expected.argsort(descending=True).tolist()
    images = probe(3, 9).movedim(1, -1).numpy()
    assert np.array_equal(result.tensor(ranked), images[shown["ranking"]])
    assert np.array_equal(result.tensor(best), images[shown["ranking"][:1]])
    assert result.tensor(chart).shape[0] == 1
    assert result.tensor(chart).shape[-1] == 3


def test_many_images_report_progress_and_a_history_matters(comfy):
    graph = Graph()
    one = taste.scored(graph, images=taste.noise(graph, batch=70))
    other = taste.scored(graph, images=taste.noise(graph, batch=70), history=taste.history(graph, seed=3))
    result = comfy.run(graph)
    assert len(result.of(one)["scores"]) == 70
    assert result.of(one)["scores"] != result.of(other)["scores"]
    assert (one.id, 70, 70) in result.progress


def test_scores_travel_as_a_list_of_floats(comfy):
    graph = Graph()
    node = taste.scored(graph)
    shown = graph.add("PreviewAny", source=node[0])
    assert len(comfy.run(graph).of(shown)["text"]) == 3


def test_the_bundled_people_load(comfy):
    people = comfy.object_info("LoadUserHistory")["input"]["required"]["user"]
    options = people[1]["options"]
    assert {"ada", "bo"} <= set(options)
    graph = Graph()
    loaded = graph.add("LoadUserHistory", user="bo")
    node = taste.scored(graph, history=loaded[0], images=loaded[1])
    looked = graph.add("ProbeSave", value=loaded[2])
    result = comfy.run(graph)
    assert len(result.of(node)["scores"]) == len(result.tensor(looked)) == 8


def test_alpha_is_left_out(comfy):
    graph = Graph()
    opaque = taste.noise(graph, batch=3, seed=9)
    mask = graph.add("SolidMask", value=0.5, width=24, height=24)
    plain, joined = (
        taste.scored(graph, images=images)
        for images in (opaque, graph.add("JoinImageWithAlpha", image=opaque, alpha=mask))
    )
    result = comfy.run(graph)
    assert result.of(plain)["scores"] == pytest.approx(result.of(joined)["scores"])


def test_unloading_models_changes_nothing(comfy):
    graph = Graph()
    node = taste.scored(graph)
    before = comfy.run(graph).of(node)["scores"]
    comfy.free()
    assert comfy.run(graph).of(node)["scores"] == before


def readings(server) -> int:
    """How often a history was read since the server's start, as its log tells."""
    return server.log.read_text(errors="replace").count("PrefGen encoded the history of")


def test_queueing_again_reads_no_history_again(comfy):
    """Nor does another node: scoring, encoding and ReNO share what was read, also when the graph around it changed."""
    comfy.run(scoring_of(seed=50))
    before = readings(comfy.server)
    for images in (51, 52):
        comfy.run(scoring_of(seed=50, images=images))
    assert readings(comfy.server) == before, "new images, the same history"
    graph = scoring_of(seed=50, images=53)
    embedding = graph.add("EncodeUserHistory", preference_model=graph.model, history=graph.history)
    graph.add("PreviewAny", source=embedding)
    comfy.run(graph)
    assert readings(comfy.server) == before, "another node, the same history"
    comfy.run(scoring_of(seed=54))
    assert readings(comfy.server) == before + 1, "another history"


def scoring_of(seed: int, images: int = 9) -> Graph:
    """A graph that scores three images for the history of a seed; `.model` and `.history` are its nodes."""
    graph = Graph()
    graph.model = graph.add("LoadPreferenceModel", checkpoint=taste.CHECKPOINT)
    graph.history = taste.history(graph, seed=seed)
    shown = taste.noise(graph, batch=3, seed=images)
    graph.add("PreferenceScore", preference_model=graph.model, history=graph.history, images=shown, prompt="a cat")
    return graph


@pytest.mark.parametrize("folder", ["prefgen/base", "LLM"])
def test_a_lora_over_a_hugging_face_folder_scores(comfy, folder):
    """As public weights come: a base as its folder, and a checkpoint that is a LoRA over it."""
    from tests.prefgen.prefdisc.base import test_locate

    models = comfy.server.base / "models"
    base_id = f"someone/tiny-{folder.split('/')[0]}"
    test_locate.write_folder(models / folder / base_id)
    trained = test_locate.write_lora(models / "prefgen" / "lora.safetensors", base=base_id)
    try:
        graph = Graph()
        node = taste.scored(graph, checkpoint="lora.safetensors")
        shown = comfy.run(graph).of(node)["scores"]
    finally:
        (models / "prefgen" / "lora.safetensors").unlink()
    with torch.no_grad():
        prefix = trained.encode(UserHistory.from_images(probe(2, 0), probe(2, 1), ["a cat"]))
        assert shown == pytest.approx(trained.score(prefix, probe(3, 9), "a cat").tolist(), abs=1e-4)


def test_half_precision_scores_nearly_the_same(comfy):
    graph = Graph()
    full, half = (
        taste.scored(
            graph, preference_model=graph.add("LoadPreferenceModel", checkpoint=taste.CHECKPOINT, precision=precision)
        )
        for precision in ("float32", "bfloat16")
    )
    result = comfy.run(graph)
    assert result.of(full)["scores"] != result.of(half)["scores"], "the choice matters"
    # bfloat16 rounds at 4e-3, through four layers of weights six times the usual
    assert result.of(half)["scores"] == pytest.approx(result.of(full)["scores"], abs=0.1)


def test_everything_the_node_shows_can_be_read_from_the_history(comfy):
    """API callers get the scores from the prompt's history, without a preview node."""
    graph = Graph()
    node = taste.scored(graph)
    result = comfy.run(graph)
    ran = result.of(node)
    assert result.remembered(node) == ran
    assert sorted(ran) == ["ranking", "scores", "text"]
