"""LoadPreferenceModel, BuildUserHistory, LoadUserHistory, EncodeUserHistory and PreferenceScore on the real server."""

import numpy as np
import pytest
import torch

from prefgen.history import UserHistory
from prefgen.preference import load_preference_model
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
    model = load_preference_model(folder / taste.CHECKPOINT, bases=[folder / "base"])
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
    options = people[1]["options"] if people[0] == "COMBO" else people[0]
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
