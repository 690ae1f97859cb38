"""The graphs to mutate: every shipped workflow, with small models and few steps, and graphs of all other nodes."""

import copy
import json
from typing import Any

from scripts.compare_revisions.stand_ins import use_pocket_models
from tests.comfyui import Graph as GraphBuilder
from tests.comfyui.server import PACK

Graph = dict[str, dict[str, Any]]
"""A graph in API format."""

EMBEDDING = "hostile graphs"
"""Name of the file that `build_and_save` writes and `load_and_show` reads."""

SMALL = {
    "KSampler": {"steps": 2},
    "EmptyLatentImage": {"width": 96, "height": 96, "batch_size": 1},
    "ReNOOptimize": {"iterations": 2, "steps": 1, "num_initial_noises": 1},
    "SDTurboScheduler": {"steps": 1},
}
"""Settings for short runs, because the benchmark posts thousands of graphs."""


def load_base_graphs() -> dict[str, Graph]:
    """Return the shipped workflows and the graphs of other nodes by name. `load_and_show` needs `build_and_save`."""
    graphs = {"build_and_save": build_and_save(), "load_and_show": load_and_show(), "clip_vision": clip_vision()}
    for path in sorted((PACK / "workflows" / "api").glob("*.json")):
        graph = copy.deepcopy(use_pocket_models(json.loads(path.read_text())))
        for node in graph.values():
            settings = SMALL.get(node["class_type"], {})
            node["inputs"].update({name: value for name, value in settings.items() if name in node["inputs"]})
        graphs[path.stem] = graph
    return graphs


def build_and_save() -> Graph:
    """Return a graph that builds a history from images, and saves its embedding and its scores."""
    graph = GraphBuilder()
    noise = [graph.add("ProbeImage", fault="none", batch=2, size=24, seed=seed) for seed in (1, 2)]
    history = graph.add("BuildUserHistory", liked=noise[0], disliked=noise[1], prompts="a cat\na dog", name="me")
    model = graph.add("LoadPreferenceModel", checkpoint="pocket", precision="auto", allow_download=False)
    embedding = graph.add("EncodeUserHistory", preference_model=model, history=history)
    graph.add("SaveUserEmbedding", embedding=embedding, filename=EMBEDDING)
    scores = graph.add("PreferenceScore", preference_model=model, history=history, images=noise[0], prompt="a cat")
    graph.add("PreviewImage", images=scores[3])
    return graph.api()


def clip_vision() -> Graph:
    """Return a graph that scores and encodes with a preference model from a CLIP_VISION."""
    graph = GraphBuilder()
    model = graph.add("PreferenceModelFromClipVision", clip_vision=graph.add("ProbePocketClipVision"))
    history = graph.add("LoadUserHistory", user="ada", max_pairs=2, select="latest", half_life_days=0.0)
    images = graph.add("ProbeImage", fault="none", batch=2, size=24, seed=3)
    scores = graph.add("PreferenceScore", preference_model=model, history=history, images=images, prompt="a cat")
    graph.add("PreviewImage", images=scores[3])
    graph.add("PreviewAny", source=graph.add("EncodeUserHistory", preference_model=model, history=history))
    return graph.api()


def load_and_show() -> Graph:
    """Return a graph that loads an embedding, compares it with another, and shows a profile."""
    graph = GraphBuilder()
    model = graph.add("LoadPreferenceModel", checkpoint="pocket")
    history = graph.add("LoadUserHistory", user="bo", max_pairs=2, select="latest", half_life_days=0.0)
    embedding = graph.add("EncodeUserHistory", preference_model=model, history=history)
    loaded = graph.add("LoadUserEmbedding", file=f"{EMBEDDING}.safetensors")
    blend = graph.add("BlendUserEmbeddings", embedding_a=loaded, embedding_b=embedding, weight_a=0.5, weight_b=0.5)
    graph.add("PreviewAny", source=blend)
    panel = graph.add("ShowUserProfile", user="ada", preference_model=model, images=4, max_pairs=2, compare_with="bo")
    graph.add("PreviewImage", images=panel)
    return graph.api()
