"""User embeddings on the real server: encoded, saved, loaded, blended, refused."""

import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from prefgen.embedding import load_embedding, save_embedding
from prefgen.safefile import fingerprint, write_safefile
from tests.comfyui import Graph, NodeError, PromptRefused
from tests.nodes import taste
from tests.nodes.graphs import Pocket

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def revision(server):
    return taste.write_tiny(server)


@pytest.fixture
def folder(server, revision):
    return server.base / "user" / "prefgen" / "embeddings"


def encoded(graph, seed=0, name="ada", **inputs):
    model = graph.add("LoadPreferenceModel", checkpoint=taste.CHECKPOINT)
    history = taste.history(graph, seed, name=name)
    return graph.add("EncodeUserHistory", **{"preference_model": model, "history": history} | inputs)


def saved(comfy, folder, build, filename=""):
    """What a graph's embedding is, read from the file that it saved."""
    graph = Graph()
    node = graph.add("SaveUserEmbedding", embedding=build(graph), filename=filename)
    text = comfy.run(graph).of(node)["text"][0]
    return load_embedding(folder / text.split(": ")[-1])


def refused(comfy, build, node, message):
    graph = Graph()
    graph.add("SaveUserEmbedding", embedding=build(graph), filename="refused")
    with pytest.raises(NodeError, match=message) as caught:
        comfy.run(graph)
    assert caught.value.node_type == node


def test_a_saved_embedding_loads_as_it_was(comfy, folder):
    ada = saved(comfy, folder, encoded)
    assert (folder / "ada.safetensors").exists()
    assert (ada.name, ada.made_by, list(ada.vectors)) == ("ada", taste.CHECKPOINT, ["sem", "core"])
    again = saved(comfy, folder, lambda graph: graph.add("LoadUserEmbedding", file="ada.safetensors"), "copy")
    assert (again.sem == ada.sem).all()
    assert again.fingerprint == ada.fingerprint


def test_what_was_saved_and_is_gone_is_saved_again(comfy, folder):
    saved(comfy, folder, encoded, "twice")
    (folder / "twice.safetensors").unlink()
    saved(comfy, folder, encoded, "twice")


def test_a_file_with_half_a_character_is_an_error_and_the_queue_goes_on(comfy, folder):
    ada = saved(comfy, folder, encoded)
    header = {"user": "eve", "reading": "0" * 64, "made_by": "\ud800"}
    header |= {"fingerprint": fingerprint(header, ada.vectors)}
    write_safefile(folder / "eve.safetensors", "user embedding", header, ada.vectors)

    def with_eve(graph):
        eve = graph.add("LoadUserEmbedding", file="eve.safetensors")
        return graph.add("BlendUserEmbeddings", embedding_a=eve, embedding_b=encoded(graph), weight_a=0.5, weight_b=0.5)

    refused(comfy, with_eve, "BlendUserEmbeddings", r"\\ud800")
    saved(comfy, folder, encoded)


def test_a_file_whose_name_is_not_valid_utf8_loads(comfy, folder):
    """Old archives can leave such names, and the node's list offers them."""
    ada = saved(comfy, folder, encoded)
    name = "\udcff\udcfe.safetensors"
    shutil.copyfile(folder / "ada.safetensors", folder / name)
    loaded = saved(comfy, folder, lambda graph: graph.add("LoadUserEmbedding", file=name))
    (folder / name).unlink()
    assert loaded.name == ada.name
    assert all((loaded.vectors[part] == vector).all() for part, vector in ada.vectors.items())


def test_a_connected_clip_vision_embeds_the_images(comfy, folder):
    """Six wide, as the tiny adapter has it."""
    user = saved(comfy, folder, lambda graph: encoded(graph, clip_vision=graph.add("ProbeClipVision", width=6)))
    assert len(user.img) == len(user.disliked_img) == 6
    assert (user.img - user.disliked_img).abs().max() > 1e-3  # noise images differ by far more than rounding
    assert user.img.norm() <= 1 + 1e-6  # a mean of vectors of length one


def test_a_clip_vision_of_another_width_is_refused(comfy, revision):
    refused(
        comfy,
        lambda graph: encoded(graph, clip_vision=graph.add("ProbeClipVision", width=9)),
        "EncodeUserHistory",
        "gives embeddings 9 wide; the adapter of tiny.safetensors expects 6. Connect the encoder",
    )


def test_a_blend_lies_between_two_people_and_tells_their_distance(comfy, folder):
    def both(graph):
        pair = {"embedding_a": encoded(graph), "embedding_b": encoded(graph, 1, "bo")}
        return graph.add("BlendUserEmbeddings", **pair, weight_a=0.75, weight_b=0.25)

    ada, bo = saved(comfy, folder, encoded), saved(comfy, folder, lambda graph: encoded(graph, 1, "bo"))
    mixed = saved(comfy, folder, both)
    assert (mixed.sem - (0.75 * ada.sem + 0.25 * bo.sem)).abs().max() < 1e-5 * ada.sem.abs().max()  # float32
    assert mixed.name == "ada + bo"


def test_weights_of_nothing_are_refused(comfy, revision):
    def nothing(graph):
        pair = {"embedding_a": encoded(graph), "embedding_b": encoded(graph, 1, "bo")}
        return graph.add("BlendUserEmbeddings", **pair, weight_a=0.0, weight_b=0.0)

    refused(comfy, nothing, "BlendUserEmbeddings", r"The weights are \[0.0, 0.0\]; expected 2")


NO_FILE_NAMES = ["../ada", "a/b", ".hidden", "con:", "x" * 101, "漢" * 100, "a\0b", "a\nb", "\x7f", "CON", "nul"]


@pytest.mark.parametrize("name", [*NO_FILE_NAMES, "COM1.txt"], ids=ascii)
def test_names_that_are_no_file_names(comfy, revision, name):
    graph = Graph()
    graph.add("SaveUserEmbedding", embedding=encoded(graph), filename=name)
    with pytest.raises(NodeError, match="is not a file name that all systems accept"):
        comfy.run(graph)


@pytest.mark.parametrize("name", NO_FILE_NAMES, ids=ascii)
def test_a_persons_name_that_is_no_file_name_asks_for_another(comfy, revision, name):
    graph = Graph()
    graph.add("SaveUserEmbedding", embedding=encoded(graph, name=name), filename="")
    with pytest.raises(NodeError, match=r"is not a file name that all systems accept.*Choose another filename"):
        comfy.run(graph)


def test_a_folder_of_the_files_name_is_left_alone(comfy, folder):
    (folder / "taken.safetensors").mkdir(parents=True)
    graph = Graph()
    graph.add("SaveUserEmbedding", embedding=encoded(graph), filename="taken")
    with pytest.raises(NodeError, match=r"taken\.safetensors is a folder.*Choose another filename"):
        comfy.run(graph)
    assert not list(folder.glob("taken*.partial"))


def test_disliked_images_of_another_width_are_named(comfy, folder):
    graph = Pocket()
    embedding = graph.add("EncodeUserHistory", preference_model=graph.preference(), history=graph.history())
    graph.add("SaveUserEmbedding", embedding=embedding, filename="narrow")
    comfy.run(graph.graph)
    user = load_embedding(folder / "narrow.safetensors")
    save_embedding(folder / "narrow.safetensors", replace(user, disliked_img=user.disliked_img[:7]))
    graph = Pocket()
    embedding = graph.add("LoadUserEmbedding", file="narrow.safetensors")
    graph.save(graph.paint(graph.adapted(graph.preference(), embedding, dislikes="push away")))
    with pytest.raises(NodeError, match="The disliked_img part of 'user 0' is 7 wide; expected a width of"):
        comfy.run(graph.graph)


@pytest.mark.parametrize("value", ['"1"', "null", "[1]"])
def test_what_is_no_number_and_comes_through_a_link_of_any_type(comfy, folder, value):
    graph = Pocket()
    other = graph.add("ProbeValue", json=value)
    preference = graph.preference()
    embedding = graph.add("EncodeUserHistory", preference_model=preference, history=graph.history())
    graph.save(graph.paint(graph.adapted(preference, embedding, strength=other)))
    with pytest.raises(NodeError, match=r"strength is .*; expected a finite number at least 0 and at most 4"):
        comfy.run(graph.graph)
    graph = Graph()
    pair = {"embedding_a": encoded(graph), "embedding_b": encoded(graph, 1, "bo")}
    blend = graph.add("BlendUserEmbeddings", **pair, weight_a=1.0, weight_b=graph.add("ProbeValue", json=value))
    graph.add("SaveUserEmbedding", embedding=blend, filename="refused")
    with pytest.raises(NodeError, match=r"weight_b is .*; expected a finite number at least 0 and at most 1"):
        comfy.run(graph)


def test_files_that_are_no_embeddings(comfy, folder):
    saved(comfy, folder, encoded)
    whole = (folder / "ada.safetensors").read_bytes()
    bad = folder / "bad.safetensors"
    for content in (whole[:-3], b"zip"):
        bad.write_bytes(content)
        message = "bad.safetensors is not a complete .safetensors file"
        refused(comfy, lambda graph: graph.add("LoadUserEmbedding", file=bad.name), "LoadUserEmbedding", message)
    save_file(load_file(folder / "ada.safetensors"), bad)
    refused(
        comfy, lambda graph: graph.add("LoadUserEmbedding", file=bad.name), "LoadUserEmbedding", "has no PrefGen header"
    )
    user = load_embedding(folder / "ada.safetensors")
    user.sem[1] = float("nan")
    save_embedding(bad, user)
    refused(
        comfy,
        lambda graph: graph.add("LoadUserEmbedding", file=bad.name),
        "LoadUserEmbedding",
        "has shape .* and values up to nan",
    )


def test_a_file_that_is_not_there(comfy, revision):
    graph = Graph()
    graph.add("SaveUserEmbedding", embedding=graph.add("LoadUserEmbedding", file="none.safetensors"), filename="x")
    with pytest.raises(PromptRefused, match=r"none\.safetensors"):
        comfy.run(graph)
