"""PrefDisc under ComfyUI's memory management: freed by the server's own route, loaded anew, handed in by layers."""

import os
import re
import time

import pytest
import torch

from tests.comfyui import Graph
from tests.nodes import taste
from tests.prefgen import tiny
from tests.prefgen.prefdisc.base.hub import write_cache
from tests.prefgen.prefdisc.base.test_locate import write_folder, write_lora

MIB = 2**20


def resident(server) -> int:
    """Bytes of memory that the server's process tree holds."""
    pids, found = [server.process.pid], 0
    while pids:
        pid = pids.pop()
        try:
            with open(f"/proc/{pid}/statm") as file:
                found += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    pids += map(int, file.read().split())
        except FileNotFoundError:
            continue
    return found


@pytest.fixture(scope="module")
def large(server, tmp_path_factory):
    """A checkpoint over a base of 360 MB in float32: large enough to be seen in what a process holds."""
    config = tiny.BROAD | {"text_config": tiny.BROAD["text_config"] | {"vocab_size": 700_000}}
    folder = taste.folder_of(server)
    write_folder(folder / "base" / "someone--large", config=config)
    write_lora(folder / "large.safetensors", config=config, base="someone/large")
    yield "large.safetensors"
    for file in (folder / "base" / "someone--large").iterdir():
        file.unlink()
    (folder / "large.safetensors").unlink()


@pytest.mark.server
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads what a process holds from /proc")
def test_the_free_route_frees_prefdisc_and_the_next_queue_reloads_it(comfy, large):
    taste.write_tiny(comfy.server)
    small = Graph()
    taste.scored(small)
    comfy.run(small)  # imports what loading imports
    graph = Graph()
    # Another type than the file's: else its pages are mapped, and those not read are not in memory.
    model = graph.add("LoadPreferenceModel", checkpoint=large, precision="bfloat16")
    node = taste.scored(graph, preference_model=model)
    before, first = resident(comfy.server), comfy.run(graph)
    held = resident(comfy.server)
    assert held - before > 140 * MIB, "the base is in memory"
    assert model.id not in comfy.run(graph).executed, "it is not read again while it is kept"
    comfy.free()
    end = time.monotonic() + 30  # the route answers before the work is done
    while held - resident(comfy.server) < 140 * MIB:
        assert time.monotonic() < end, "it is out of memory again"
        time.sleep(0.2)
    again = comfy.run(graph)
    assert model.id in again.executed
    assert again.of(node)["scores"] == first.of(node)["scores"]


@pytest.mark.server
def test_it_says_what_it_takes_and_shows_how_far_it_is(comfy, large):
    taste.write_tiny(comfy.server)
    graph = Graph()
    model = graph.add("LoadPreferenceModel", checkpoint=large, precision="float16")
    taste.scored(graph, preference_model=model)
    result = comfy.run(graph)
    told = re.findall(r"PrefGen is loading someone/large in float16: (\S+) GiB", comfy.server.log.read_text())
    assert told
    shown = [(value, most) for node, value, most in result.progress if node == model.id]
    assert shown[-1][0] == shown[-1][1] > 50, "every tensor counts"


@pytest.mark.server
@pytest.mark.parametrize("precision", ["nf4", "int8"])
def test_few_bits_score_on_the_server(comfy, precision):
    pytest.importorskip("bitsandbytes")
    folder = taste.folder_of(comfy.server)
    write_folder(folder / "base" / "someone--broad", config=tiny.BROAD)
    write_lora(folder / "broad.safetensors", config=tiny.BROAD, base="someone/broad")
    try:
        graph = Graph()
        kinds = ("bfloat16", precision)
        models = [graph.add("LoadPreferenceModel", checkpoint="broad.safetensors", precision=kind) for kind in kinds]
        whole, few = (taste.scored(graph, preference_model=model) for model in models)
        result = comfy.run(graph)
        comfy.free()
        again = comfy.run(graph)
    finally:
        (folder / "broad.safetensors").unlink()
    assert result.of(few)["scores"] != result.of(whole)["scores"]
    assert again.of(few)["scores"] == result.of(few)["scores"]


@pytest.mark.server
def test_a_base_in_the_hugging_face_cache_serves(comfy, tmp_path):
    base = write_folder(tmp_path / "cached", shard="60KB")
    write_cache(comfy.server.base / "huggingface" / "hub", "someone/cached", base)
    write_lora(taste.folder_of(comfy.server) / "cached.safetensors", base="someone/cached", revision="")
    graph = Graph()
    node = taste.scored(graph, checkpoint="cached.safetensors")
    assert len(comfy.run(graph).of(node)["scores"]) == 3


@pytest.mark.server
def test_a_base_that_is_not_here_is_not_fetched(comfy):
    taste.write_tiny(comfy.server)
    write_lora(taste.folder_of(comfy.server) / "elsewhere.safetensors", base="someone/elsewhere", revision="")
    graph = Graph()
    taste.scored(graph, checkpoint="elsewhere.safetensors")
    taste.refused(comfy, graph, "LoadPreferenceModel", "someone/elsewhere", "not on this machine", "Allow its download")
    graph = Graph()
    model = graph.add("LoadPreferenceModel", checkpoint="elsewhere.safetensors", allow_download=True)
    taste.scored(graph, preference_model=model)
    # The tests' server is told to stay offline, which is said, and not taken for a fault of the file.
    taste.refused(comfy, graph, "LoadPreferenceModel", "someone/elsewhere could not be downloaded")


@pytest.fixture
def held(pack, tmp_path):
    """A managed model over the tiny base, and its scores when all of it is in."""
    from prefgen.checkpoint.preference_model import load_preference_model

    write_folder(tmp_path / "base" / "someone--tiny", config=tiny.BROAD)
    write_lora(tmp_path / "lora.safetensors", config=tiny.BROAD, base="someone/tiny")
    model = load_preference_model(tmp_path / "lora.safetensors", base_folders=[tmp_path / "base"])
    images = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(9))

    def score():
        with torch.no_grad():
            return model.prefdisc.score(model.prefdisc.encode(tiny.history(2)), images, "a cat")

    return pack("nodes.memory.model_management").register_with_model_management(model), score, score()


def test_layers_that_do_not_fit_are_handed_in_one_by_one(held):
    """What ComfyUI does on a small card, told here that there is room for a fifth of the weights."""
    model, score, expected = held
    patcher = model.model_patchers["prefdisc"]
    patcher.load(torch.device("cpu"), lowvram_model_memory=patcher.model_size() // 5)
    outside = [m for m in model.prefdisc.modules() if getattr(m, "comfy_cast_weights", False)]
    assert len(outside) > 10
    assert torch.allclose(score(), expected, atol=1e-5)
    patcher.partially_load(torch.device("cpu"), 1e32)
    assert not [m for m in model.prefdisc.modules() if getattr(m, "comfy_cast_weights", False)]
    assert torch.allclose(score(), expected, atol=1e-5)
    patcher.detach()
    assert torch.allclose(score(), expected, atol=1e-5)


def test_the_adapter_comes_without_prefdisc(pack):
    """Applying an adapter pushes nothing out for a PrefDisc that is not used."""
    from prefgen.checkpoint.preference_model import POCKET, load_preference_model

    weights = pack("nodes.memory.model_management")
    model = weights.register_with_model_management(load_preference_model(POCKET))
    weights.load_to_device(model, "adapter")
    assert model.model_patchers["adapter"].loaded_size() > 0
    assert model.model_patchers["prefdisc"].loaded_size() == 0


@pytest.mark.parametrize(
    ("free", "precision", "said"),
    [(10**5, "bfloat16", r"needs \S+ GiB in bfloat16; 0.0 GiB of memory are available\. .*nf4 0.0 GiB, int8 0.0 GiB")],
)
def test_too_little_memory_is_said_before_anything_is_read(pack, tmp_path, monkeypatch, free, precision, said):
    from types import SimpleNamespace

    room, bases = pack("nodes.memory.precision"), pack("prefgen.prefdisc.base.locate")
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(room.psutil, "swap_memory", lambda: SimpleNamespace(free=0))
    place = bases.BaseLocation(write_folder(tmp_path / "tiny"), "someone/tiny")
    with pytest.raises(ValueError, match=said):
        room.base_load_options(precision)(place)
