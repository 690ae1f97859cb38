"""Folders with odd names among the profiles: each list shows the others, and says what cannot be used and why."""

import shutil
import unicodedata

import pytest

from prefgen.cli.histories import find_users
from prefgen.errors import ProfileError
from prefgen.profile import Profiles
from tests.comfyui import Graph, NodeError, PromptRefused
from tests.nodes import profiles as helpers
from tests.nodes.profiles import ask

pytestmark = pytest.mark.server
ROOT = "/prefgen/profiles"
ODD = ["me (copy)", "me.", "m" * 70, "ADA", "con", ".hidden"]


@pytest.fixture
def folder(comfy):
    """The server's profiles, with a rated one called "odd names"."""
    helpers.record(comfy, "odd names", liked="0", disliked="1")
    root = comfy.server.base / "user" / "default" / "prefgen" / "profiles"
    before = {path.name for path in root.iterdir()}
    yield root
    for path in root.iterdir():
        if path.name not in before:
            shutil.rmtree(path)


def copied(folder, name):
    shutil.copytree(folder / "odd names", folder / name)
    return name


def compare_with_all(comfy):
    graph = Graph()
    model = graph.add("LoadPreferenceModel", checkpoint="pocket")
    graph.add("ShowUserProfile", user="ada", preference_model=model, images=2)
    comfy.run(graph)


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_one_odd_folder_breaks_no_list(comfy, folder, name):
    copied(folder, name)
    listed = ask(comfy.server, "GET", ROOT).json
    assert "odd names" in [profile["name"] for profile in listed["profiles"]]
    reasons = {entry["name"]: entry["error"] for entry in listed["unusable"]}
    assert name in reasons or name.startswith(".")
    assert all(reason.endswith(".") for reason in reasons.values())
    users = comfy.object_info("LoadUserHistory")["input"]["required"]["user"][1]["options"]
    assert "odd names" in users
    assert name not in users
    compare_with_all(comfy)


def test_an_odd_name_is_refused_with_the_reason(comfy, folder):
    copied(folder, "me (copy)")
    graph = Graph()
    graph.add("PreviewAny", source=graph.add("LoadUserHistory", user="me (copy)"))
    with pytest.raises(PromptRefused, match="is not a profile name; expected up to 64 letters"):
        comfy.run(graph)


def test_a_name_in_another_normal_form_is_the_same_profile(comfy, folder):
    """An archive of a Mac has decomposed names."""
    decomposed = unicodedata.normalize("NFD", "caf\u00e9")
    copied(folder, decomposed)
    assert "caf\u00e9" in [profile["name"] for profile in ask(comfy.server, "GET", ROOT).json["profiles"]]
    graph = Graph()
    graph.add("PreviewAny", source=graph.add("LoadUserHistory", user="caf\u00e9"))
    comfy.run(graph)
    copied(folder, "caf\u00e9")
    listed = ask(comfy.server, "GET", ROOT).json
    assert [entry["name"] for entry in listed["unusable"]] == [decomposed]
    assert "Rename this one." in listed["unusable"][0]["error"]


def test_a_newer_profile_is_named_and_the_others_are_listed(comfy, folder):
    copied(folder, "newer")
    (folder / "newer" / "ratings.jsonl").write_text('{"prefgen_profile": 99, "id": "x"}\n')
    listed = ask(comfy.server, "GET", ROOT).json
    assert "odd names" in [profile["name"] for profile in listed["profiles"]]
    assert [entry["name"] for entry in listed["unusable"]] == ["newer"]
    compare_with_all(comfy)
    graph = Graph()
    graph.add("PreviewAny", source=graph.add("LoadUserHistory", user="newer"))
    with pytest.raises(NodeError, match="format 99; expected 1"):
        comfy.run(graph)


def test_commands_read_a_profile_whatever_its_folder_is_called(folder):
    copied(folder, "me (copy)")
    users = {user.name: user for user in find_users([str(folder)])}
    assert len(users["me (copy)"].read().pairs) == 1


def test_profiles_themselves_refuse_odd_names(folder):
    with pytest.raises(ProfileError, match="is not a profile name"):
        Profiles(folder).profile("me (copy)")


def test_forgetting_a_profile_deletes_its_images_from_temp(comfy):
    """Images that were shown but not rated go, too. Those of another profile stay, even if they are equal."""
    recorded = helpers.record(comfy, "forgotten", seed=77, liked="0")
    kept = helpers.record(comfy, "kept", seed=77, liked="0")
    forgotten_files, kept_files = (
        [comfy.server.base / "temp" / image["subfolder"] / image["filename"] for image in ui["images"]]
        for ui in (recorded, kept)
    )
    assert len(forgotten_files) > 1
    assert all(path.is_file() for path in forgotten_files)
    assert ask(comfy.server, "DELETE", f"{ROOT}/forgotten").status == 200
    assert not any(path.exists() for path in forgotten_files)
    assert all(path.is_file() for path in kept_files)
    ask(comfy.server, "DELETE", f"{ROOT}/kept")
