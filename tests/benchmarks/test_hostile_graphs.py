"""The benchmark of hostile graphs: its mutations, and how it judges an end."""

import copy
import random

import pytest

from benchmarks.hostile_graphs.base_graphs import load_base_graphs
from benchmarks.hostile_graphs.control import control_graph
from benchmarks.hostile_graphs.mutations import Mutation, draw_mutations, mutate
from benchmarks.hostile_graphs.outcome import FAILED_CLEARLY, FAILED_IN_CORE, RAN, REFUSED, UNCLEAR, post
from tests.comfyui import Graph

pytestmark = pytest.mark.server

PACK_NODES = {"ApplyPreferenceAdapter", "BuildUserHistory", "EncodeUserHistory", "LoadUserHistory", "PreferenceScore"}


def draw(object_info: dict, seed: int, count: int) -> list:
    rng, base = random.Random(seed), load_base_graphs()
    names = [rng.choice(list(base)) for _ in range(count)]
    return [(base[name], draw_mutations(base[name], object_info, PACK_NODES, rng)) for name in names]


def test_a_seed_repeats_its_mutations_and_leaves_the_workflows_as_they_are(comfy):
    object_info = comfy.object_info()
    drawn, again = draw(object_info, 3, 400), draw(object_info, 3, 400)
    assert repr(drawn) == repr(again)  # NaN is not equal to itself
    assert len({mutation.kind for _, mutations in drawn for mutation in mutations}) >= 12
    for graph, mutations in drawn:
        before = copy.deepcopy(graph)
        mutate(graph, mutations)
        for mutation in mutations:
            control_graph(graph, mutation, object_info)
        assert graph == before


def list_of(graph: Graph, sizes: str) -> Graph:
    graph.add("PreviewImage", images=graph.add("ProbeImageList", sizes=sizes, seed=1))
    return graph


def test_an_end_is_ours_if_our_node_or_our_code_raised(comfy):
    assert post(comfy, list_of(Graph(), "24").api(), set()).kind == RAN
    assert post(comfy, list_of(Graph(), "x").api(), {"ProbeImageList"}).kind == UNCLEAR
    assert post(comfy, list_of(Graph(), "x").api(), set()).kind == FAILED_IN_CORE
    graph = Graph()
    graph.add("PreviewAny", source=graph.add("LoadUserHistory", user="nobody of this name"))
    outcome = post(comfy, graph.api(), PACK_NODES)
    assert (outcome.kind, outcome.in_our_code) == (FAILED_CLEARLY, True)
    assert post(comfy, {"1": {"class_type": "PreviewAny", "inputs": {}}}, PACK_NODES).kind == REFUSED


def test_a_cycle_through_an_unknown_input_is_cores(comfy):
    base = load_base_graphs()["quickstart"]
    node = next(name for name, entry in base.items() if entry["class_type"] == "LoadPocketGenerator")
    cycle = Mutation("through any", node, "unknown", [node, 1])
    outcome = post(comfy, mutate(base, [cycle]), PACK_NODES)
    control = post(comfy, control_graph(base, cycle, comfy.object_info()), PACK_NODES)
    assert (outcome.in_our_code, control.in_our_code) == (False, False)
    assert "Dependency cycle detected" in outcome.message
    assert "Dependency cycle detected" in control.message
