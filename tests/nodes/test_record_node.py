"""RecordPreference and LoadUserHistory on the real server: rated images become the history of the next queue."""

import io

import numpy as np
import pytest
from PIL import Image

from prefgen.embedding import load_embedding
from tests.comfyui import Graph, NodeError, PromptRefused
from tests.nodes import taste
from tests.nodes.graphs import Pocket
from tests.nodes.profiles import ROOT, ask, record, recorded

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", autouse=True)
def _tiny(server):
    taste.write_tiny(server)


def loaded(graph, profile, **inputs):
    return graph.add("LoadUserHistory", user=profile, **inputs)


def test_places_become_ratings_and_ratings_a_history(comfy):
    shown = record(comfy, "places", liked="0, 3", disliked="1")
    assert shown["ratings"] == [True, False, None, True]
    assert (shown["liked"], shown["disliked"], shown["profile"]) == ([2], [1], ["places"])
    assert len(set(shown["digests"])) == len(shown["images"]) == 4
    listed = ask(comfy.server, "GET", f"{ROOT}/places/ratings").json["ratings"]
    assert {(rating["image"], rating["liked"], rating["prompt"]) for rating in listed} == {
        (shown["digests"][place], liked, "a cat") for place, liked in ((0, True), (1, False), (3, True))
    }
    graph = Graph()
    history = loaded(graph, "places")
    score = taste.scored(graph, history=history[0])
    liked, disliked = (graph.add("ProbeSave", value=history[side]) for side in (1, 2))
    result = comfy.run(graph)
    assert len(result.of(score)["scores"]) == 3
    assert result.tensor(liked).shape == result.tensor(disliked).shape == (2, 24, 24, 3)
    assert np.array_equal(*result.tensor(disliked)), "the one dislike is in both pairs"
    assert result.of(history)["text"] == ["places: 2 liked, 1 disliked; 2 pairs"]


def test_images_are_kept_as_they_were_shown(comfy):
    """To within the rounding to 8 bits."""
    record(comfy, "exact", liked="0", disliked="1")
    graph = Graph()
    images = graph.add("ProbeSave", value=taste.noise(graph, batch=4))
    kept = graph.add("ProbeSave", value=loaded(graph, "exact")[1])
    result = comfy.run(graph)
    assert np.abs(result.tensor(kept)[0] - result.tensor(images)[0]).max() <= 0.5 / 255 + 1e-6


def test_a_new_rating_re_runs_what_follows_and_only_then(comfy):
    shown = record(comfy, "loop", liked="0", disliked="1")
    graph = Graph()
    history = loaded(graph, "loop", max_pairs=1)
    score = taste.scored(graph, history=history[0])
    first = comfy.run(graph)
    assert {history.id, score.id} <= set(comfy.run(graph).cached), "nothing was rated in between"

    def rate(**rating):
        assert ask(comfy.server, "POST", f"{ROOT}/loop/ratings", {"prompt": "a cat"} | rating).status == 200

    rate(image=shown["digests"][2], liked=True)
    again = comfy.run(graph)
    assert not {history.id, score.id} & set(again.cached)
    assert again.of(score)["scores"] != first.of(score)["scores"]
    ask(comfy.server, "POST", f"{ROOT}/loop/undo", {})
    assert comfy.run(graph).of(score)["scores"] == first.of(score)["scores"]
    rate(image=shown["digests"][2], liked=True)
    rate(image=shown["digests"][3], liked=True)
    newest = comfy.run(graph).of(score)["scores"]
    ask(comfy.server, "POST", f"{ROOT}/loop/undo", {"image": shown["digests"][0]})
    unchanged = comfy.run(graph)
    assert not {history.id, score.id} & set(unchanged.cached), "taste heads use all ratings, also old ones"
    assert unchanged.of(score)["scores"] == newest, "an old rating is not in the newest pair, which PrefDisc reads"


def test_what_is_rated_since_is_shown_when_it_runs_again(comfy):
    graph = Graph()
    node = recorded(graph, "marks")
    shown = comfy.run(graph).of(node)
    assert shown["ratings"] == [None] * 4
    ask(comfy.server, "POST", f"{ROOT}/marks/ratings", {"image": shown["digests"][1], "liked": False})
    assert comfy.run(graph).of(node)["ratings"] == [None, False, None, None]


def test_likes_alone_give_img_and_say_so(comfy):
    record(comfy, "liker", liked="0 1")
    graph = Graph()
    history = loaded(graph, "liker")
    tower = graph.add("ProbeClipVision", width=6)
    model = graph.add("LoadPreferenceModel", checkpoint=taste.CHECKPOINT)
    encode = graph.add("EncodeUserHistory", preference_model=model, history=history[0], clip_vision=tower)
    save = graph.add("SaveUserEmbedding", embedding=encode, filename="liker")
    waiting = graph.add("ProbeSave", value=history[2])
    result = comfy.run(graph)
    embedding = load_embedding(comfy.server.base / "user" / "prefgen" / "embeddings" / "liker.safetensors")
    assert list(embedding.vectors) == ["img"]
    assert result.of(save)
    assert "liker has 2 liked images and no disliked one" in result.of(encode)["text"][0]
    assert not result.of(waiting), "there are no disliked images to look at"
    graph = Graph()
    taste.scored(graph, history=loaded(graph, "liker")[0])
    taste.refused(comfy, graph, "PreferenceScore", "'liker' has 2 likes and no dislikes", "Dislike at least one image")


def test_the_adapter_paints_with_likes_alone(comfy):
    """Of an embedding with `img` alone that part counts, and the others are silent whatever their strengths."""
    record(comfy, "painter", liked="0 1")
    pocket = Pocket()
    preference = pocket.preference()
    user = pocket.add("EncodeUserHistory", preference_model=preference, history=loaded(pocket.graph, "painter")[0])
    kept = [
        pocket.save(pocket.paint(pocket.adapted(preference, user, **strengths)))
        for strengths in ({"img_strength": 0.0}, {}, {"sem_strength": 3.0, "core_strength": 0.0})
    ]
    plain = pocket.save(pocket.paint())
    result = comfy.run(pocket.graph)
    silent, with_img, other = (result.tensor(node) for node in kept)
    assert np.abs(silent - result.tensor(plain)).max() < 1e-4  # a branch of zeros beside none: float32 rounding
    assert np.abs(with_img - silent).max() > 1e-3
    assert np.array_equal(with_img, other)


def test_pushing_away_needs_a_dislike_and_paints_by_likes_until_then(comfy):
    record(comfy, "unsure", liked="0 1")
    pocket = Pocket()
    preference = pocket.preference()
    user = pocket.add("EncodeUserHistory", preference_model=preference, history=loaded(pocket.graph, "unsure")[0])
    pushing, ignoring = (pocket.adapted(preference, user, dislikes=value) for value in ("push away", "ignore"))
    kept = [pocket.save(pocket.paint(model)) for model in (pushing, ignoring)]
    result = comfy.run(pocket.graph)
    assert np.array_equal(*(result.tensor(node) for node in kept))
    assert result.of(pushing)["text"] == ["unsure has not disliked an image yet: there is nothing to push away."]
    assert not result.of(ignoring)
    record(comfy, "unsure", disliked="2")
    result = comfy.run(pocket.graph)
    assert not np.array_equal(*(result.tensor(node) for node in kept))
    assert not result.of(pushing)


@pytest.mark.parametrize("disliked", [None, "0"], ids=["nothing rated", "nothing liked"])
def test_a_profile_of_which_nothing_is_liked_may_be_painted_plainly(comfy, disliked):
    """And says so; the first like changes the picture, and nothing has to be switched."""
    name = f"newcomer {disliked}"
    if disliked:
        record(comfy, name, disliked=disliked, seed=11)
    pocket = Pocket()
    history = loaded(pocket.graph, name, when_unrated="paint plainly")
    preference = pocket.preference()
    user = pocket.add("EncodeUserHistory", preference_model=preference, history=history[0])
    adapted = pocket.adapted(preference, user)
    mine, plain = (pocket.save(pocket.paint(*model)) for model in ((adapted,), ()))
    looking = pocket.add("ProbeSave", value=history[1])
    result = comfy.run(pocket.graph)
    assert np.array_equal(result.tensor(mine), result.tensor(plain))
    assert not result.of(looking)
    assert result.of(history)["text"][0].endswith("disliked; images are not personalised, until one is liked")
    assert f"{name} has not liked an image yet" in result.of(user)["text"][0]
    assert result.of(adapted)["text"] == [f"{name} has not liked an image yet; the MODEL is unchanged."]
    assert {history.id, user.id, adapted.id} <= set(comfy.run(pocket.graph).cached), "nothing has changed"
    record(comfy, name, liked="0", seed=12)
    result = comfy.run(pocket.graph)
    assert np.abs(result.tensor(mine) - result.tensor(plain)).max() > 1e-3


def test_nothing_liked_stops_by_default_and_can_be_neither_scored_for_nor_kept(comfy):
    graph = Graph()
    taste.scored(graph, history=loaded(graph, "blank", when_unrated="paint plainly")[0])
    taste.refused(comfy, graph, "PreferenceScore", "no profile 'blank'", "Rate an image first")
    graph = Graph()
    model = graph.add("LoadPreferenceModel", checkpoint=taste.CHECKPOINT)
    history = loaded(graph, "blank", when_unrated="paint plainly")
    encode = graph.add("EncodeUserHistory", preference_model=model, history=history[0])
    graph.add("SaveUserEmbedding", embedding=encode, filename="blank")
    taste.refused(comfy, graph, "SaveUserEmbedding", "The embedding of 'blank' is empty")


def test_images_of_several_sizes_are_shown_in_one(comfy):
    for size, place in ((24, "liked"), (48, "disliked")):
        graph = Graph()
        images = graph.add("ProbeImage", fault="none", batch=1, size=size, seed=3)
        recorded(graph, "sizes", images=images, **{place: "0"})
        comfy.run(graph)
    ask(comfy.server, "POST", f"{ROOT}/sizes/ratings?liked=true", png(30, 60), Content_Type="image/png")
    graph = Graph()
    liked = graph.add("ProbeSave", value=loaded(graph, "sizes")[1])
    assert comfy.run(graph).tensor(liked).shape == (2, 60, 30, 3)


def png(width, height):
    file = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 199)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"liked": "4"}, r"liked contains '4'; expected numbers from 0 to 3"),
        ({"disliked": "-1"}, "disliked contains '-1'"),
        ({"liked": "all"}, "liked contains 'all'"),
        ({"liked": "٣"}, "liked contains"),
        ({"liked": "1 2", "disliked": "2"}, "Image 2 is in both liked and disliked"),
    ],
)
def test_places_that_are_none_are_refused_and_nothing_is_rated(comfy, inputs, message):
    graph = Graph()
    recorded(graph, "refused", **inputs)
    with pytest.raises(NodeError, match=message):
        comfy.run(graph)
    assert ask(comfy.server, "GET", f"{ROOT}/refused").status == 404


@pytest.mark.parametrize("name", ["", "../../evil", "a/b", "ada", "."])
def test_names_that_cannot_be_profiles_are_refused_before_anything_runs(comfy, name):
    graph = Graph()
    recorded(graph, name)
    with pytest.raises(PromptRefused, match=r"RecordPreference.*(is not a profile name|is a bundled user)"):
        comfy.run(graph)


def test_a_profile_that_is_not_there_is_named(comfy):
    graph = Graph()
    taste.scored(graph, history=loaded(graph, "nobody")[0])
    taste.refused(comfy, graph, "LoadUserHistory", "There is no profile 'nobody'", "Rate an image first")


@pytest.mark.parametrize("fault", ["nan", "rank 5", "one channel"])
def test_faulty_images_are_refused(comfy, fault):
    graph = Graph()
    recorded(graph, "faulty", images=taste.noise(graph, fault), liked="0")
    with pytest.raises(NodeError, match="The input images has"):
        comfy.run(graph)


def test_profiles_are_offered_beside_the_people(comfy):
    record(comfy, "offered", liked="0")
    options = comfy.object_info("LoadUserHistory")["input"]["required"]["user"][1]["options"]
    assert options[:2] == ["ada", "bo"]
    assert "offered" in options


def test_fewer_pairs_of_the_people(comfy):
    graph = Graph()
    liked = graph.add("ProbeSave", value=loaded(graph, "ada", max_pairs=3)[1])
    assert comfy.run(graph).tensor(liked).shape[0] == 3


def test_an_image_can_be_rated_in_another_profile_than_it_was_shown_for(comfy):
    """As in the browser, where the profile can be renamed after the run."""
    digest = record(comfy, "shown here", seed=91)["digests"][0]
    rating = ask(comfy.server, "POST", f"{ROOT}/rated%20there/ratings", {"image": digest, "liked": True})
    assert rating.status == 200
    assert rating.json["rating"]["image"] == digest
