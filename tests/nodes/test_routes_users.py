"""--multi-user: ComfyUI's users have profiles of their own, by route and by node."""

import json
import time

import pytest

from tests.comfyui import Graph, running_server
from tests.nodes.profiles import ROOT, ask, recorded

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def shared():
    """A server for several users: it takes ten seconds to start, once."""
    with running_server(arguments=("--cpu", "--multi-user")) as server:
        yield server


@pytest.fixture(scope="module")
def users(shared):
    return [ask(shared, "POST", "/users", {"username": name}).json for name in ("eve", "mallory")]


def run(server, graph, user=None, patience=60):
    """Queue a graph as a user; what the server's history tells of it at its end."""
    headers = {"Comfy_User": user} if user else {}
    prompt = ask(server, "POST", "/prompt", {"prompt": graph.api()}, **headers).json["prompt_id"]
    end = time.monotonic() + patience
    while not (done := ask(server, "GET", f"/history/{prompt}").json) and time.monotonic() < end:
        time.sleep(0.1)
    return done[prompt]


def test_users_see_their_own_profiles_alone(shared, users):
    eve, mallory = users
    graph = Graph()
    node = recorded(graph, "me", liked="0 1", disliked="2")
    told = run(shared, graph, eve)
    assert told["outputs"][node.id]["liked"] == [2]
    image = told["outputs"][node.id]["digests"][0]
    assert ask(shared, "GET", f"{ROOT}/me", None, Comfy_User=eve).json["liked"] == 2
    assert ask(shared, "GET", f"{ROOT}/me", None, Comfy_User=mallory).status == 404
    assert ask(shared, "GET", f"{ROOT}/me/images/{image}", None, Comfy_User=mallory).status == 404
    assert ask(shared, "DELETE", f"{ROOT}/me", None, Comfy_User=mallory).status == 404
    assert (shared.base / "user" / eve / "prefgen" / "profiles" / "me" / "ratings.jsonl").is_file()
    assert eve not in json.dumps(told["prompt"]), "no user's id gets into saved images"


def test_a_node_reads_the_profile_of_whoever_queued_it(shared, users):
    """The same graph for both: nothing of the one's comes out of the cache for the other."""
    eve, mallory = users
    for user, liked in ((eve, "0"), (mallory, "1")):
        graph = Graph()
        recorded(graph, "same", liked=liked, disliked="2", seed=5)
        run(shared, graph, user)
    graph = Graph()
    seen = graph.add("PreviewImage", images=graph.add("LoadUserHistory", user="same")[1])
    pictures = []
    for user in (eve, mallory):
        reference = run(shared, graph, user)["outputs"][seen.id]["images"][0]
        query = "&".join(f"{name}={value}" for name, value in reference.items())
        pictures.append(ask(shared, "GET", f"/view?{query}").body)
    assert pictures[0] != pictures[1]


def test_a_panel_shows_nobody_elses_profile(shared, users):
    eve, mallory = users
    graph = Graph()
    recorded(graph, "secret", liked="0", disliked="1")
    run(shared, graph, eve)
    graph = Graph()
    node = graph.add("ShowUserProfile", user="secret")
    assert run(shared, graph, eve)["outputs"][node.id]["liked"] == [1]
    assert run(shared, graph, mallory)["status"]["status_str"] == "error"
    assert ask(shared, "GET", f"{ROOT}/secret/picture", None, Comfy_User=mallory).status == 404


def test_options_are_the_askers(shared, users):
    def offered(**headers):
        info = ask(shared, "GET", "/object_info/LoadUserHistory", None, **headers).json["LoadUserHistory"]
        return info["input"]["required"]["user"][1]["options"]

    graph = Graph()
    recorded(graph, "only hers", liked="0")
    run(shared, graph, users[0])
    assert "only hers" in offered(Comfy_User=users[0])
    assert "only hers" not in offered(Comfy_User=users[1])
    assert "only hers" not in offered()


def test_whoever_is_nobody_is_refused(shared, users):
    for headers in ({}, {"Comfy_User": "nobody"}, {"Comfy_User": "__system"}, {"Comfy_User": "../default"}):
        assert ask(shared, "GET", ROOT, None, **headers).status == 401
    graph = Graph()
    node = recorded(graph, "me", liked="0", prefgen_user_token="guessed")
    status = run(shared, graph)["status"]
    assert status["status_str"] == "error"
    failed = dict(status["messages"])["execution_error"]
    assert failed["node_id"] == node.id
    assert "separates its users" in failed["exception_message"]
