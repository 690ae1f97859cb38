"""ShowUserProfile on the real server: counts, walls, held-out scores and who is alike, as a picture and as numbers."""

import io
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from tests.comfyui import Graph
from tests.nodes import taste
from tests.nodes.profiles import ROOT, ask, record

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", autouse=True)
def _tiny(server):
    taste.write_tiny(server)


def shown(graph, user, model=True, **inputs):
    if model:
        inputs["preference_model"] = graph.add("LoadPreferenceModel", checkpoint=taste.CHECKPOINT)
    return graph.add("ShowUserProfile", user=user, **inputs)


def run(comfy, user, model=True, **inputs):
    """What the node tells, and its picture."""
    graph = Graph()
    node = shown(graph, user, model, **inputs)
    kept = graph.add("ProbeSave", value=node)
    result = comfy.run(graph)
    return result.of(node), result.tensor(kept)


@pytest.fixture(scope="module")
def rated(server):
    from tests.comfyui import Client

    comfy = Client(server)
    for name, seed in (("walls", 0), ("wally", 40)):
        for batch in range(2):
            record(comfy, name, seed=seed + batch, liked="0, 1", disliked="2" if batch else "2, 3")
    return comfy


def test_without_a_model_it_shows_what_was_rated(rated, comfy):
    told, picture = run(comfy, "walls", model=False)
    assert (told["liked"], told["disliked"], told["scores"], told["alike"]) == ([4], [3], [], [])
    assert told["text"] == ["walls: 4 liked, 3 disliked"]
    address = urllib.parse.urlencode(told["images"][0])
    seen = np.asarray(Image.open(io.BytesIO(comfy.request(f"/view?{address}"))), np.float32) / 255
    assert np.abs(seen - picture[0]).max() < 1 / 255 + 1e-6, "the browser sees what the output has"


def test_with_a_model_it_guesses_every_image_and_compares_everybody(rated, comfy):
    plain = run(comfy, "walls", model=False)[1]
    told, picture = run(comfy, "walls", compare_with="wally, ada")
    assert picture.shape[1] > plain.shape[1], "two more sections"
    listed = ask(comfy.server, "GET", f"{ROOT}/walls/ratings").json["ratings"]
    assert {(one["image"], one["liked"]) for one in told["scores"]} == {(one["image"], one["liked"]) for one in listed}
    assert all(0 <= one["score"] <= 1 for one in told["scores"])
    assert 0 <= told["told_apart"][0] <= 1
    assert {one["name"] for one in told["alike"]} == {"wally", "ada"}
    assert [one["likeness"] for one in told["alike"]] == sorted(
        (one["likeness"] for one in told["alike"]), reverse=True
    )
    assert all(len(one["tokens"]) == 3 and -1 <= sum(one["tokens"]) <= 1 for one in told["alike"])


def test_the_people_of_the_pack_and_everybody_here(rated, comfy):
    told, _ = run(comfy, "ada")
    assert (told["liked"], told["disliked"], len(told["scores"])) == ([8], [8], 16)
    assert {"bo", "walls", "wally"} <= {one["name"] for one in told["alike"]} or len(told["alike"]) == 7


def test_fewer_images_are_the_newest(rated, comfy):
    told, _ = run(comfy, "walls", images=1, compare_with="ada")
    listed = ask(comfy.server, "GET", f"{ROOT}/walls/ratings").json["ratings"]
    newest = [next(one["image"] for one in listed if one["liked"] is liked) for liked in (True, False)]
    assert [one["image"] for one in told["scores"]] == newest


def test_likes_alone_say_what_is_missing(comfy):
    record(comfy, "fond", liked="0 1")
    told, _ = run(comfy, "fond")
    assert (told["scores"], told["alike"], told["told_apart"]) == ([], [], [])
    assert "fond does not have both yet" in told["text"][1]


def test_images_that_all_pairs_show_have_no_guess(comfy):
    record(comfy, "single", liked="0", disliked="1")
    told, _ = run(comfy, "single", compare_with="ada")
    assert told["scores"] == []
    assert told["text"][1].startswith("2 images have no prediction")
    assert told["alike"][0]["name"] == "ada"


def test_it_runs_again_when_somebody_who_is_shown_was_rated(comfy):
    digests = record(comfy, "again", liked="0", disliked="1")["digests"]
    for name in ("other", "bystander"):
        record(comfy, name, liked="0", disliked="1", seed=3)
    graph = Graph()
    node = shown(graph, "again", compare_with="other")
    comfy.run(graph)
    assert node.id in comfy.run(graph).cached
    ask(comfy.server, "POST", f"{ROOT}/bystander/undo", {})
    assert node.id in comfy.run(graph).cached
    ask(comfy.server, "POST", f"{ROOT}/other/undo", {})
    assert node.id not in comfy.run(graph).cached
    ask(comfy.server, "POST", f"{ROOT}/again/ratings", {"image": digests[2], "liked": True})
    assert comfy.run(graph).of(node)["liked"] == [2]


def test_what_is_not_there_is_named(comfy):
    graph = Graph()
    shown(graph, "nobody here", model=False)
    taste.refused(comfy, graph, "ShowUserProfile", "There is no profile 'nobody here'", "Rate an image first")
    graph = Graph()
    shown(graph, "ada", compare_with="bo, nobody else")
    taste.refused(comfy, graph, "ShowUserProfile", "There is no profile 'nobody else'")


def test_the_route_shows_the_walls_as_they_are(rated, server):
    answer = ask(server, "GET", f"{ROOT}/walls/picture")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/webp")
    assert answer.headers["cache-control"] == "no-store", "a rating changes it, and a forgotten image is gone from it"
    whole, few = (
        Image.open(io.BytesIO(ask(server, "GET", f"{ROOT}/walls/picture?images={images}").body)) for images in (16, 1)
    )
    assert whole.width == few.width
    assert whole.height != few.height
    assert ask(server, "GET", f"{ROOT}/nobody/picture").status == 404
    assert ask(server, "GET", f"{ROOT}/walls/picture?images=9999").status == 400


def test_ratings_of_one_side(rated, server):
    for liked, count in (("true", 4), ("false", 3)):
        told = ask(server, "GET", f"{ROOT}/walls/ratings?liked={liked}").json
        assert [one["liked"] for one in told["ratings"]] == [liked == "true"] * count
        assert (told["liked"], told["disliked"]) == (4, 3)
    assert ask(server, "GET", f"{ROOT}/walls/ratings?liked=maybe").status == 400
