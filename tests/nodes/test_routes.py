"""The pack's routes on the real server: what they do, and what they refuse, each with its status and one sentence."""

import io
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from contextlib import suppress

import pytest
from PIL import Image

from tests.comfyui import Graph
from tests.comfyui.server import PACK
from tests.nodes import taste
from tests.nodes.profiles import ROOT, ask, record

pytestmark = pytest.mark.server

DIGEST = "0123456789abcdef" * 4
PNG = {"Content_Type": "image/png"}
ZIP = {"Content_Type": "application/zip"}


def picture(colour, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(file, kind)
    return file.getvalue()


def test_an_image_is_rated_listed_seen_undone_and_forgotten(server):
    rated = ask(server, "POST", f"{ROOT}/r1/ratings?liked=true&prompt=a+cat", picture((1, 2, 3)), **PNG)
    assert rated.status == 200
    image = rated.json["rating"]["image"]
    assert rated.json["rating"] | {"time": 0} == {"image": image, "liked": True, "prompt": "a cat", "time": 0}
    assert (rated.json["name"], rated.json["liked"], rated.json["disliked"]) == ("r1", 1, 0)
    again = ask(server, "POST", f"{ROOT}/r1/ratings", {"image": image, "liked": True, "prompt": "a cat"}).json
    assert again == rated.json, "to rate it again as it is changes nothing"
    turned = ask(server, "POST", f"{ROOT}/r1/ratings", {"image": image, "liked": False}).json
    assert (turned["liked"], turned["disliked"]) == (0, 1)
    assert turned["version"] != rated.json["version"]
    undone = ask(server, "POST", f"{ROOT}/r1/undo", {"image": image}).json
    assert (undone["undone"]["liked"], undone["rating"]["liked"]) == (False, True)
    ask(server, "POST", f"{ROOT}/r1/ratings", {"image": image, "liked": False})
    unrated = ask(server, "POST", f"{ROOT}/r1/undo", {"image": image, "all": True}).json
    assert (unrated["undone"]["liked"], unrated["rating"], unrated["liked"], unrated["disliked"]) == (False, None, 0, 0)
    seen = ask(server, "GET", f"{ROOT}/r1/images/{image}?size=8")
    assert seen.headers["content-type"] == "image/webp"
    assert "private" in seen.headers["cache-control"]
    assert Image.open(io.BytesIO(seen.body)).size == (8, 4)
    assert ask(server, "DELETE", f"{ROOT}/r1/images/{image}").json["liked"] == 0
    assert ask(server, "GET", f"{ROOT}/r1/images/{image}").status == 404
    assert ask(server, "DELETE", f"{ROOT}/r1").json == {"forgotten": "r1"}
    assert ask(server, "GET", f"{ROOT}/r1").status == 404
    assert "r1" not in [profile["name"] for profile in ask(server, "GET", ROOT).json["profiles"]]


def test_pages_of_ratings_newest_first_and_those_of_some_images(server):
    images = [
        ask(server, "POST", f"{ROOT}/r2/ratings?liked={'true' if i % 2 else 'false'}", picture((i, 0, 0)), **PNG)
        for i in range(5)
    ]
    digests = [answer.json["rating"]["image"] for answer in images]

    def listed(query):
        return [rating["image"] for rating in ask(server, "GET", f"{ROOT}/r2/ratings?{query}").json["ratings"]]

    assert listed("") == digests[::-1]
    assert listed("limit=2&offset=1") == [digests[3], digests[2]]
    assert listed(f"images={digests[4]},{DIGEST},{digests[0]}") == [digests[4], digests[0]]
    assert ask(server, "GET", f"{ROOT}/r2").json["liked"] == 2


def test_shown_and_saved_images_are_rated_by_name(comfy):
    shown = record(comfy, "r3")
    assert ask(comfy.server, "GET", f"{ROOT}/r3").status == 404, "shown is not rated"
    rated = ask(comfy.server, "POST", f"{ROOT}/r3/ratings", {"image": shown["digests"][0], "liked": True})
    assert rated.json["rating"]["image"] == shown["digests"][0]
    by_name = ask(comfy.server, "POST", f"{ROOT}/r3/ratings", shown["images"][1] | {"liked": False})
    assert by_name.json["rating"]["image"] == shown["digests"][1]
    graph = Graph()
    save = graph.add("SaveImage", images=taste.noise(graph, batch=1, seed=7), filename_prefix="rated")
    saved = comfy.run(graph).of(save)["images"][0]
    assert ask(comfy.server, "POST", f"{ROOT}/r3/ratings", saved | {"liked": True}).json["liked"] == 2


def test_a_profile_travels(server):
    for i in range(3):
        ask(server, "POST", f"{ROOT}/r4/ratings?liked=true&prompt=p", picture((0, i, 0)), **PNG)
    exported = ask(server, "GET", f"{ROOT}/r4/export")
    assert exported.headers["content-type"] == "application/zip"
    assert "r4.prefgen.zip" in exported.headers["content-disposition"]
    assert len(zipfile.ZipFile(io.BytesIO(exported.body)).namelist()) == 4
    arrived = ask(server, "POST", f"{ROOT}/r4b/import", exported.body, **ZIP)
    assert arrived.json["imported"] == {"ratings": 3, "known": 0, "images": 3}
    ours, theirs = (ask(server, "GET", f"{ROOT}/{name}/ratings").json["ratings"] for name in ("r4", "r4b"))
    assert ours == theirs


def hostile_zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../../evil.py", "x")
    return file.getvalue()


RATE = f"{ROOT}/x1/ratings"
FILE = {"filename": "x.png", "subfolder": "", "type": "output", "liked": True}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "said"),
    [
        # path tricks
        ("POST", f"{ROOT}/%2e%2e/ratings?liked=true", b"x", PNG, (400, 404, 405), ""),
        ("POST", f"{ROOT}/..%2f..%2fevil/ratings?liked=true", b"x", PNG, 400, "is not a profile name"),
        ("POST", f"{ROOT}/..%5cevil/ratings?liked=true", b"x", PNG, 400, "is not a profile name"),
        ("POST", f"{ROOT}/a%00b/ratings?liked=true", b"x", PNG, 400, "is not a profile name"),
        ("DELETE", f"{ROOT}/%2e%2e%2f%2e%2e", None, {}, 400, "is not a profile name"),
        ("GET", f"{ROOT}/ada", None, {}, 400, "is a bundled user"),
        ("POST", RATE, FILE | {"filename": "../../../etc/passwd"}, {}, 403, "is outside the output folder"),
        ("POST", RATE, FILE | {"filename": "/etc/passwd"}, {}, 403, "is outside the output folder"),
        ("POST", RATE, FILE | {"subfolder": "../user"}, {}, 403, "is outside the output folder"),
        ("POST", RATE, FILE | {"filename": "a\0b"}, {}, (403, 404), "a\\x00b"),
        ("POST", RATE, FILE | {"type": "user"}, {}, 404, "expected one of output, input, temp"),
        ("POST", RATE, FILE, {}, 404, "There is no 'x.png' in the output folder"),
        ("POST", RATE, {"image": "../../evil", "liked": True}, {}, 404, "has no image"),
        ("POST", RATE, {"image": DIGEST, "liked": True}, {}, 404, "has no image"),
        # foreign origins
        ("GET", ROOT, None, {"Origin": "http://evil.example"}, 403, ""),
        ("POST", RATE, b"x", PNG | {"Origin": "null"}, 403, ""),
        ("GET", ROOT, None, {"Sec_Fetch_Site": "cross-site"}, 403, ""),
        # asked for by another name than localhost ComfyUI itself looks at no origin
        ("GET", ROOT, None, {"Host": "comfy.lan:8188", "Origin": "http://evil.example"}, 403, "Pages of http://evil"),
        ("GET", ROOT, None, {"Host": "comfy.lan", "Origin": "http://comfy.lan:9999"}, 403, "Pages of"),
        # bodies
        ("POST", f"{RATE}?liked=true", b"GIF89a nonsense", PNG, 415, "The body could not be read as an image"),
        ("POST", f"{RATE}?liked=true", b"", PNG, 415, "The body could not be read as an image"),
        ("POST", f"{RATE}?liked=true", b"<svg/>", {"Content_Type": "image/svg+xml"}, 415, "as an image"),
        ("POST", f"{RATE}?liked=maybe", b"x", PNG, 400, "'liked' is 'maybe'; expected true or false"),
        ("POST", RATE, b"liked=true", {"Content_Type": "text/plain"}, 415, "expected application/json"),
        ("POST", RATE, b"{", {"Content_Type": "application/json"}, 400, "The body is not a JSON object"),
        ("POST", RATE, b"[" * 60_000, {"Content_Type": "application/json"}, 400, "The body is not a JSON object"),
        ("POST", RATE, b"[1]", {"Content_Type": "application/json"}, 400, "not a JSON object"),
        ("POST", RATE, {"image": 3, "liked": True}, {}, 400, "'image' is 3; expected text"),
        ("POST", RATE, {"image": DIGEST, "liked": "yes"}, {}, 400, "'liked' is 'yes'; expected true or false"),
        ("POST", RATE, {"image": DIGEST}, {}, 400, "'liked' is None"),
        ("POST", RATE, {"liked": True, "prompt": "x" * 70_000}, {}, 413, "expected at most 65,536"),
        ("POST", f"{ROOT}/x1/undo", {}, {}, 404, "There is no profile 'x1'"),
        ("GET", f"{ROOT}/x1/export", None, {}, 404, "There is no profile 'x1'"),
        ("GET", f"{ROOT}/x1/ratings?limit=-1", None, {}, 400, "'limit' is '-1'; expected a whole number"),
        ("POST", f"{ROOT}/x1/import", b"PK", ZIP, 400, "is not a readable .zip"),
        (
            "POST",
            f"{ROOT}/x1/import",
            hostile_zip(),
            ZIP,
            400,
            "Unexpected or duplicate file in the archive: '../..",
        ),
        ("POST", f"{ROOT}/x1/import", b"x", PNG, 415, "expected application/zip"),
        ("POST", f"{ROOT}/..%2fx/import", b"x", ZIP, 400, "is not a profile name"),
    ],
)
def test_what_is_refused(server, method, path, body, headers, status, said):
    seen = server.log.stat().st_size
    answer = ask(server, method, path, body, **headers)
    assert answer.status in (status if isinstance(status, tuple) else (status,)), answer.body
    if said:
        assert said in answer.json["error"]
    assert b"Traceback" not in answer.body + server.log.read_bytes()[seen:]
    assert str(server.base).encode() not in answer.body, "no path of the machine is told"
    assert ask(server, "GET", f"{ROOT}/x1").status == 404, "nothing was made"
    assert not list(server.base.rglob("evil*"))


@pytest.mark.parametrize(
    ("path", "kind", "size"),
    [("x1/ratings?liked=true", "image/png", 2**25 + 1), ("x1/import", "application/zip", 2**30)],
)
def test_oversized_bodies_are_refused_unread(server, path, kind, size):
    """By what they say of their size, so that nobody has to send it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = (
            f"POST {ROOT}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(4096).split(b"\r\n")[0]


def test_oversized_bodies_that_do_not_say_so_are_cut_off(server):
    def chunks():
        for _ in range(40):
            yield bytes(2**20)

    answer = None
    with suppress(OSError):  # the server may hang up before all is sent
        answer = ask(server, "POST", f"{RATE}?liked=true", chunks(), Transfer_Encoding="chunked", **PNG)
    assert answer is None or answer.status == 413
    assert ask(server, "GET", f"{ROOT}/x1").status == 404


def test_nothing_to_undo_is_a_conflict(server):
    image = ask(server, "POST", f"{ROOT}/r5/ratings?liked=true", picture((7, 7, 7)), **PNG).json["rating"]["image"]
    assert ask(server, "POST", f"{ROOT}/r5/undo", {"image": DIGEST}).status == 409
    assert ask(server, "POST", f"{ROOT}/r5/undo").json["undone"]["image"] == image
    assert ask(server, "POST", f"{ROOT}/r5/undo").status == 409


def test_own_pages_may_ask(server):
    own = {"Origin": server.url}
    assert ask(server, "GET", ROOT, None, **own).status == 200
    assert ask(server, "GET", f"/api{ROOT}", None, **own).status == 200
    away = {"Host": "comfy.lan", "Origin": "http://comfy.lan"}
    assert ask(server, "GET", ROOT, None, **away).status == 200


def blocks(kind):
    text = (PACK / "docs" / "routes.md").read_text()
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("sh")), reason="no curl")
def test_the_curl_examples_of_the_docs_run(server, tmp_path):
    script = "set -e\n" + "\n".join(blocks("sh")).replace("http://127.0.0.1:8188", server.url)
    script = script.replace("/tmp/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-c", script], cwd=PACK, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    profile = ask(server, "GET", f"{ROOT}/me").json
    assert (profile["liked"], profile["disliked"]) == (1, 0), "one liked, one disliked and undone"


def test_the_python_example_of_the_docs_runs(server):
    (script,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", script.replace("http://127.0.0.1:8188", server.url)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told, scores = done.stdout.splitlines()
    assert told == "1 liked, 1 disliked"
    assert 0 <= float(scores.strip("[]")) <= 1
