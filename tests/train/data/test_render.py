"""A set of agents painted by a real ComfyUI, with the pack's pocket workflow; and workflows of other shapes."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.nodes.graphs import Pocket
from train.data.agent_sets import AgentSetConfig, load_agents, write_agent_set
from train.data.posters import Attributes, caption
from train.data.render import (
    Places,
    RenderConfig,
    RenderError,
    Server,
    Workflow,
    __main__,
    all_jobs,
    render_set,
)
from train.data.user_sets import SetError, read_rows

SIZE = (96, 96)  # the only size that the pocket generator knows


def pocket_workflow(steps: int = 2) -> dict:
    """The pack's pocket generator as a person would export it, with titles."""
    pocket = Pocket()
    saved = pocket.add("PreviewImage", images=pocket.paint(steps=steps))
    nodes = pocket.graph.api()
    nodes[pocket.positive.id]["_meta"] = {"title": "Positive"}
    nodes[pocket.negative.id]["_meta"] = {"title": "Negative"}
    nodes[saved.id]["_meta"] = {"title": "Result"}
    return nodes


PLACES = Places(prompt="Positive")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "drawn"
    write_agent_set(out, AgentSetConfig(users=1, seed=3, pairs=3, split="test"))
    return out


def test_the_pocket_generator_paints_a_set(comfy, server, drawn, tmp_path, capsys):
    (tmp_path / "api.json").write_text(json.dumps(pocket_workflow()))
    out, words = tmp_path / "painted", "{caption}, a poster"
    options = ["--set", str(drawn), "--workflow", str(tmp_path / "api.json"), "--out", str(out), "--server", server.url]
    __main__.main([*options, "--prompt-node", "Positive", "--words", words, "--size", "96x96"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rendered"] == 6
    assert read_rows(out) == read_rows(drawn)
    assert (load_agents(out)[1][0].pairs == load_agents(drawn)[1][0].pairs).all()
    assert (out / "limits.json").read_bytes() == (drawn / "limits.json").read_bytes()
    jobs = list(all_jobs(drawn, RenderConfig(words, SIZE)))
    assert len({(job.prompt, job.seed) for job in jobs}) == 6
    indices = load_agents(drawn)[1][0].pairs[0, 2, 1]
    assert jobs[5].prompt == f"{caption(Attributes.from_indices(indices))}, a poster"
    workflow = Workflow(pocket_workflow(), PLACES)
    alone = comfy.run(workflow.filled(jobs[5].prompt, jobs[5].seed, SIZE)).pictures(workflow.image)[0]
    with Image.open(out / jobs[5].file) as painted:
        assert np.array_equal(np.asarray(painted), np.asarray(alone)), "that image of those words and that seed"
        assert not painted.info.get("exif"), "the workflow is not in every image"


def test_an_interrupted_run_goes_on(server, drawn, tmp_path):
    workflow, config = Workflow(pocket_workflow(), PLACES), RenderConfig(size=SIZE)

    def stopping(jobs):
        for number, job in enumerate(jobs):
            if number == 4:
                raise KeyboardInterrupt
            yield job

    with pytest.raises(KeyboardInterrupt):
        render_set(drawn, tmp_path / "set", Server(server.url), workflow, config, stopping)
    assert not (tmp_path / "set").exists()
    first = sorted((tmp_path / "set.partial").rglob("*.webp"))
    assert len(first) == 2, "four were queued; three are ahead at most"
    times = [file.stat().st_mtime_ns for file in first]
    with pytest.raises(RenderError, match="was started with another seed"):
        render_set(drawn, tmp_path / "set", Server(server.url), workflow, RenderConfig(size=SIZE, seed=1))
    assert render_set(drawn, tmp_path / "set", Server(server.url), workflow, config) == 4
    kept = [tmp_path / "set" / file.relative_to(tmp_path / "set.partial") for file in first]
    assert [file.stat().st_mtime_ns for file in kept] == times
    with pytest.raises(SetError, match="exists"):
        render_set(drawn, tmp_path / "set", Server(server.url), workflow, config)


def test_faults_name_the_node(server, drawn, tmp_path):
    def refused(nodes, message):
        with pytest.raises(RenderError, match=message):
            render_set(drawn, tmp_path / "set", Server(server.url), Workflow(nodes, PLACES, False), RenderConfig())

    wrong = pocket_workflow()
    sampler = next(node for node in wrong if wrong[node]["class_type"] == "KSampler")
    wrong[sampler]["inputs"]["sampler_name"] = "no such sampler"
    refused(wrong, rf"rejected the workflow \(node {sampler} \(KSampler\): .*no such sampler")
    raising = pocket_workflow()
    raising["50"] = {
        "class_type": "ProbeImage",
        "inputs": {"fault": "rank 5", "batch": 1, "size": 8, "seed": ["51", 0]},
    }
    raising["51"] = {"class_type": "PrimitiveInt", "inputs": {"value": 0}}
    result = next(node for node in raising if raising[node]["class_type"] == "PreviewImage")
    raising[result]["inputs"]["images"] = ["50", 0]
    refused(raising, rf"Node {result} \(PreviewImage\) raised ")
    unknown = pocket_workflow() | {"60": {"class_type": "NoSuchNode", "inputs": {}}}
    refused(unknown, "rejected the workflow .*NoSuchNode")


def test_no_server_and_no_address(drawn, tmp_path):
    workflow = Workflow(pocket_workflow(), PLACES)
    with pytest.raises(RenderError, match=r"does not answer .* Start ComfyUI, then run again"):
        render_set(drawn, tmp_path / "set", Server("http://127.0.0.1:9"), workflow, RenderConfig(size=SIZE))
    with pytest.raises(RenderError, match=r"--server is .*; expected a URL such as http"):
        Server("localhost:8188")


def test_places_are_found_or_asked_for():
    nodes = pocket_workflow()
    found = Workflow(nodes, PLACES)
    assert found.nodes[found.seed[0]]["class_type"] == "KSampler"
    assert found.nodes[found.size[0]]["class_type"] == "EmptyLatentImage"
    filled = found.filled("a fish", 7, (64, 32))
    assert filled[found.prompt[0]]["inputs"]["text"] == "a fish"
    assert filled[found.seed[0]]["inputs"]["seed"] == 7
    assert [filled[found.size[0]]["inputs"][side] for side in ("width", "height")] == [64, 32]
    assert nodes[found.prompt[0]]["inputs"]["text"] == "a lighthouse", "the workflow itself stays"
    with pytest.raises(
        RenderError, match=r"\(Positive\), \d+ \(Negative\); expected one. Select it with --prompt-node"
    ):
        Workflow(nodes)
    with pytest.raises(RenderError, match=r"with id or title 'Hat': none"):
        Workflow(nodes, Places(prompt="Hat"))


def test_both_texts_of_sdxl_and_primitives_are_set():
    nodes = {
        "1": {"class_type": "CLIPTextEncodeSDXL", "inputs": {"text_g": "", "text_l": "", "clip": ["9", 0]}},
        "2": {"class_type": "PrimitiveInt", "inputs": {"value": 3}, "_meta": {"title": "Seed"}},
        "3": {"class_type": "KSampler", "inputs": {"seed": ["2", 0], "steps": 3}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    }
    filled = Workflow(nodes, Places(seed="Seed"), sized=False).filled("a fish", 7, None)
    assert filled["1"]["inputs"]["text_g"] == filled["1"]["inputs"]["text_l"] == "a fish"
    assert filled["2"]["inputs"]["value"] == 7
    with pytest.raises(
        RenderError, match=r"Node 3 \(KSampler\) cannot take the seed, because seed is linked to another node"
    ):
        Workflow(nodes, Places(seed="3"), sized=False)
    with pytest.raises(RenderError, match=r"suitable for the size: none"):
        Workflow(nodes, Places(seed="Seed"), sized=True)


def test_files_that_are_no_api_workflow(tmp_path):
    file = tmp_path / "canvas.json"
    file.write_text(json.dumps({"nodes": [], "links": []}))
    with pytest.raises(RenderError, match=r"in the format of the canvas; expected .*Export \(API\)"):
        Workflow.read(file)
    file.write_text("[1, 2")
    with pytest.raises(RenderError, match="cannot be read"):
        Workflow.read(file)
    with pytest.raises(RenderError, match=r"expected a text with \{caption\}"):
        RenderConfig("always the same")
