"""What reaches a node: lists of images, linked values, inputs that are not ours, and values where a socket belongs."""

import json

import numpy as np
import pytest

from tests.comfyui import Graph, NodeError, PromptRefused
from tests.nodes import taste
from tests.nodes.graphs import Pocket

pytestmark = pytest.mark.server
MIXED = "24 40 24"
SIDES = ("liked", "disliked")


@pytest.fixture(scope="module", autouse=True)
def tiny(server):
    taste.write_tiny(server)


def listed(graph, sizes: str = "24 24 24", seed: int = 9):
    return graph.add("ProbeImageList", sizes=sizes, seed=seed)


def test_a_list_of_images_is_scored_and_sorted_as_one_set(comfy):
    graph = Graph()
    history = taste.history(graph)
    as_list = taste.scored(graph, history=history, images=listed(graph))
    as_batch = taste.scored(graph, history=history, images=taste.noise(graph, batch=3, seed=9))
    saves = [graph.add("ProbeSave", value=scored[output]) for scored in (as_list, as_batch) for output in (2, 3)]
    result = comfy.run(graph)
    assert result.of(as_list)["ranking"] == result.of(as_batch)["ranking"]
    assert np.allclose(result.of(as_list)["scores"], result.of(as_batch)["scores"], atol=1e-6)
    best, in_order, best_of_batch, batch_in_order = map(result.tensor, saves)
    assert np.array_equal(best, best_of_batch)
    assert np.array_equal(in_order, batch_in_order)


def test_images_of_several_sizes_are_ranked_together(comfy):
    graph = Graph()
    scored = taste.scored(graph, images=listed(graph, MIXED))
    shown = graph.add("PreviewImage", images=scored[3])
    result = comfy.run(graph)
    assert sorted(result.of(scored)["ranking"]) == [0, 1, 2]
    sizes = [picture.width for picture in result.pictures(shown)]
    assert sizes == [int(MIXED.split()[index]) for index in result.of(scored)["ranking"]]


def test_a_list_makes_one_history(comfy):
    graph = Graph()
    sides = {"liked": listed(graph, MIXED, 1), "disliked": listed(graph, "24 24 40", 2)}
    history = taste.history(graph, prompts="a cat\na dog\na boat", **sides)
    scored = taste.scored(graph, history=history)
    assert len(comfy.run(graph).of(scored)["scores"]) == 3
    graph = Graph()
    taste.scored(graph, history=taste.history(graph, liked=listed(graph)))
    taste.refused(comfy, graph, "BuildUserHistory", "Found 3 liked and 2 disliked images")


def test_an_index_rates_one_image_of_a_list(comfy):
    graph = Graph()
    images = listed(graph, MIXED, 5)
    node = graph.add("RecordPreference", images=images, profile="lists", prompt="a cat", liked="0", disliked="2")
    shown = comfy.run(graph).of(node)
    assert shown["ratings"] == [True, None, False]
    assert (shown["liked"], shown["disliked"], len(shown["images"])) == ([1], [1], 3)


def test_several_values_where_one_is_expected_are_refused(comfy):
    graph = Graph()
    prompts = taste.scored(graph)[0]  # a list of three numbers
    images = taste.noise(graph)
    node = graph.add("RecordPreference", images=images, profile="lists", prompt=graph.add("PreviewAny", source=prompts))
    with pytest.raises(NodeError, match="prompt has 3 values; expected one"):
        comfy.run(graph)
    assert node.id


def nothing(graph):
    """A list without any value, of any type."""
    return graph.add("ProbeList", json="[]")


def test_an_empty_list_is_refused_by_name(comfy):
    graph = Graph()
    taste.scored(graph, images=listed(graph, ""))
    taste.refused(comfy, graph, "PreferenceScore", "images has no image")
    graph = Graph()
    graph.add("RecordPreference", images=listed(graph, ""), profile="lists", liked="0")
    taste.refused(comfy, graph, "RecordPreference", "images has no image")
    graph = Graph()
    taste.scored(graph, history=taste.history(graph, prompts=nothing(graph)))
    taste.refused(comfy, graph, "BuildUserHistory", "prompts has 0 values; expected one")


def test_an_empty_list_as_the_only_input_is_refused_by_name(comfy):
    graph = Graph()
    graph.add("PreviewAny", source=graph.add("LoadUserEmbedding", file=nothing(graph)))
    taste.refused(comfy, graph, "LoadUserEmbedding", "file has no value; expected one")


def primitives(graph, /, **values):
    """Each value through a link that ComfyUI does not check."""
    return {name: graph.add("ProbeValue", json=json.dumps(value)) for name, value in values.items()}


def as_they_are(graph, /, **values):
    return values


def every_node(graph: Pocket, link) -> dict[str, str]:
    """One of each of our nodes; `link(graph, **values)` gives the values of its widgets. Returns names by node id."""
    add, ids = graph.add, {}

    def ours(node_type, sockets=(), /, **values):
        node = add(node_type, **dict(sockets), **link(graph, **values))
        ids[node.id] = node_type
        return node

    model = ours("LoadPreferenceModel", checkpoint="pocket", precision="auto", allow_download=False)
    record = {"images": add("ProbeImage", fault="none", batch=2, size=24, seed=3)}
    ours("RecordPreference", record, profile="linked", prompt="x", liked="0", disliked="1")
    picks = {"max_pairs": 8, "select": "latest", "half_life_days": 0.0}
    history = ours("LoadUserHistory", user="ada", **picks, when_unrated="stop")
    sides = {side: add("ProbeImage", fault="none", batch=2, size=24, seed=s) for s, side in enumerate(SIDES)}
    built = ours("BuildUserHistory", sides, prompts="a cat", name="me")
    scored = ours("PreferenceScore", {"preference_model": model, "history": built, **record}, prompt="a cat")
    embedding = ours("EncodeUserHistory", {"preference_model": model, "history": history})
    pair = {"embedding_a": embedding, "embedding_b": embedding}
    blend = ours("BlendUserEmbeddings", pair, weight_a=0.5, weight_b=0.5)
    strengths = dict.fromkeys(("strength", "sem_strength", "core_strength", "img_strength"), 1.0)
    adapted = ours(
        "ApplyPreferenceAdapter",
        {"model": graph.model, "preference_model": model, "embedding": blend},
        **strengths | {"start_percent": 0.0, "end_percent": 1.0, "dislikes": "ignore", "blocks": "all"},
        **{"block_weights": "", "variety": 1.0},
    )
    graph.save(graph.paint(adapted))
    optimised = ours(
        "ReNOOptimize",
        {"model": graph.model, "vae": graph.vae, "positive": graph.positive, "negative": graph.negative}
        | {"latent": graph.latent, "preference_model": model, "history": history},
        **{"prompt": "a cat", "seed": 1, "iterations": 1, "learning_rate": 5.0, "steps": 1, "cfg": 2.0},
        **{"scheduler": "simple", "direction": "like", "objective": "score", "optimiser": "sgd", "patience": 0},
        **{"checkpointing": False, "views": 0, "num_initial_noises": 1, "preference_weight": 1.0, "clip_weight": 0.0},
    )
    graph.save(optimised)
    ours("ShowUserProfile", {"preference_model": model}, user="ada", images=4, compare_with="bo", **picks)
    add("PreviewAny", source=scored[0])
    return ids


@pytest.mark.parametrize("unknown", [{}, {"extra_of_a_client": 1}], ids=["linked", "with an unknown input"])
def test_every_widget_can_be_linked_and_nothing_runs_twice(comfy, unknown):
    graph = Pocket()
    ids = every_node(graph, primitives)
    linked = {f"{name}_linked": graph.positive[0] for name in unknown}
    for node_id in ids:
        graph.graph.nodes[node_id]["inputs"] |= unknown | linked
    comfy.run(graph.graph)  # rates
    comfy.run(graph.graph)
    result = comfy.run(graph.graph)
    assert {ids[node_id] for node_id in ids if node_id not in result.cached} == set()
    assert "fingerprint" not in comfy.server.log_tail(30)


def test_one_node_names_the_profile_for_rating_and_loading(comfy):
    graph = Graph()
    name = graph.add("PrimitiveString", value="one name")
    images = taste.noise(graph)
    graph.add("RecordPreference", images=images, profile=name, prompt="x", liked="0", disliked="1")
    comfy.run(graph)
    history = graph.add("LoadUserHistory", user=name)
    node = taste.scored(graph, history=history)
    profile = graph.add("ShowUserProfile", user=name)
    result = comfy.run(graph)
    assert len(result.of(node)["scores"]) == 3
    assert result.of(profile)["profile"] == ["one name"]


WRONG = ["some text", 3, {"a": 1}]


@pytest.mark.parametrize("value", WRONG, ids=["text", "number", "object"])
def test_a_value_where_a_socket_belongs_is_refused_in_one_sentence(comfy, value):
    template = Pocket()
    ids = every_node(template, as_they_are)
    sockets = [
        (node_id, name)
        for node_id in ids
        for name, given in template.graph.nodes[node_id]["inputs"].items()
        if isinstance(given, list)
    ]
    assert len(sockets) >= 20
    for node_id, name in sockets:
        graph = Pocket()
        every_node(graph, as_they_are)
        graph.graph.nodes[node_id]["inputs"][name] = value
        graph.graph.nodes = needed(graph.graph.nodes, node_id)
        with pytest.raises(NodeError) as caught:
            comfy.run(graph.graph)
        assert caught.value.node_id == node_id, (ids[node_id], name)
        assert f"{name} is " in caught.value.message
        assert "expected the output of a node such as" in caught.value.message
        assert caught.value.exception_type == "prefgen.errors.PrefGenError", "no path of the machine"


@pytest.mark.parametrize("value", [[], [[]], [["a", {}]], [[1, 2, 3]]], ids=repr)
def test_a_list_that_is_no_conditioning_is_refused_in_one_sentence(comfy, value):
    graph = Pocket()
    positive = graph.add("ProbeValue", json=json.dumps(value))
    history = graph.add("LoadUserHistory", user="ada")
    graph.save(graph.optimised(graph.preference(), history, positive=positive))
    with pytest.raises(NodeError, match=r"positive is .*; expected the output of a node such as CLIP Text Encode"):
        comfy.run(graph.graph)


def needed(nodes: dict, node_id: str) -> dict:
    """A node with everything before it, and someone who wants its output."""
    kept, waiting = {}, [node_id]
    while waiting:
        current = waiting.pop()
        kept[current] = nodes[current]
        waiting += [given[0] for given in nodes[current]["inputs"].values() if isinstance(given, list)]
    return kept | {"wants": {"class_type": "PreviewAny", "inputs": {"source": [node_id, 0]}}}


def test_numbers_beyond_the_widgets_limits_are_refused_with_the_limit(comfy):
    for name, value, limit in (("iterations", 10**9, 1000), ("views", 10**6, 64), ("num_initial_noises", 10**9, 1000)):
        graph = Pocket()
        history = graph.add("LoadUserHistory", user="ada")
        graph.save(graph.optimised(graph.preference(), history, **primitives(graph, **{name: value})))
        with pytest.raises(NodeError, match=f"{name} is .*; expected a whole number at least . and at most {limit}"):
            comfy.run(graph.graph)


@pytest.mark.parametrize("seed", [10**30, -(10**30), 2**64, 0.5])
def test_a_seed_that_torch_does_not_take_is_refused(comfy, seed):
    graph = Pocket()
    history = graph.add("LoadUserHistory", user="ada")
    graph.save(graph.optimised(graph.preference(), history, **primitives(graph, seed=seed)))
    with pytest.raises(NodeError, match=r"seed is .*; expected a whole number at least .* and at most "):
        comfy.run(graph.graph)


def test_a_profile_without_ratings_is_no_warning(comfy):
    log = comfy.server.log
    before = log.stat().st_size
    graph = Graph()
    history = graph.add("LoadUserHistory", user="nobody yet", when_unrated="paint plainly")
    graph.add("PreviewAny", source=history)
    comfy.run(graph)
    graph = Graph()
    graph.add("ShowUserProfile", user="ada", compare_with="nobody yet")
    with pytest.raises(NodeError, match="There is no profile 'nobody yet'"):
        comfy.run(graph)
    assert "WARNING" not in log.read_bytes()[before:].decode()


@pytest.mark.parametrize("name", ["profile", "user"])
def test_a_missing_name_is_refused_by_comfyui(comfy, name):
    graph = Graph()
    if name == "profile":
        graph.add("RecordPreference", images=taste.noise(graph))
    else:
        graph.add("ShowUserProfile")
    with pytest.raises(PromptRefused, match=f"Required input is missing: {name}"):
        comfy.run(graph)


def test_nothing_through_a_link_is_the_default_of_an_optional_input(comfy):
    graph = Graph()
    nothing = graph.add("ProbeValue", json="null")
    node = graph.add("RecordPreference", images=taste.noise(graph), profile="defaults", liked=nothing, disliked="0")
    assert comfy.run(graph).of(node)["ratings"] == [False, None]
