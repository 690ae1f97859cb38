"""Every shipped workflow: laid out, the same graph in both formats, and it runs, pocket models in place of big ones."""

import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from prefgen.pocket.shapes import LORA_FOLDER
from tests.browser.thumbnails import SIDE, card, difference
from tests.workflows import stand_ins
from tests.workflows.convert import ONLY_SHOWN, inputs, to_api
from tests.workflows.names import API as NAMES
from tests.workflows.names import FOLDER, api_path, browser_path

BROWSER = sorted(FOLDER.glob("*.json"))
API = sorted((FOLDER / "api").glob("*.json"))
TITLE = 30  # height of a node's title, which lies above its place
ANY = "COMFY_MATCHTYPE_V3"  # a socket that becomes what is connected to it, as those of core's switch
named = pytest.mark.parametrize("path", BROWSER, ids=[path.stem for path in BROWSER])


def load(path):
    return json.loads(path.read_text())


def test_they_are_a_path_to_follow_and_each_has_a_name_for_scripts():
    assert [path.stem for path in BROWSER] == list(NAMES)
    assert [title.split()[0] for title in NAMES] == [str(number) for number in range(1, len(NAMES) + 1)]
    assert {path.stem for path in API} == set(NAMES.values())
    for path in BROWSER:
        assert load(path)["nodes"][-1]["widgets_values"][0].startswith(f"# {path.stem}\n"), (
            "its note begins with the title"
        )


@named
def test_it_has_a_picture_of_what_it_makes_or_a_card_of_what_it_needs(path):
    with Image.open(path.with_suffix(".jpg")) as picture:
        assert picture.size == (SIDE, SIDE), "the template browser shows squares"
        workflow = load(path)
        if stand_ins.needed(workflow):  # no picture of the pocket models under the name of a large one
            assert difference(picture, card(path.stem[2:], stand_ins.needs(workflow))) < 3
        else:
            assert difference(picture, card(path.stem[2:], [])) > 20
    assert path.with_suffix(".jpg").stat().st_size < 100_000


def taken(info, name):
    """The types that a socket takes; one of a growing row is called as the row and itself: images.image0."""
    kind, options = inputs(info)[name.split(".")[0]]
    if kind == "COMFY_AUTOGROW_V3":
        ((kind, _),) = options["template"]["input"]["required"].values()
    return set(str(kind).split(","))


@named
def test_its_links_fit(path, comfy):
    workflow, known = load(path), comfy.object_info()
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len({link[0] for link in workflow["links"]}) == len(workflow["links"])
    for link, source, output, target, slot, kind in workflow["links"]:
        assert nodes[source]["outputs"][output]["type"] in (kind, ANY)
        assert link in nodes[source]["outputs"][output]["links"]
        assert known[nodes[source]["type"]]["output"][output] in (kind, ANY)
        assert nodes[target]["inputs"][slot]["link"] == link
        name = nodes[target]["inputs"][slot]["name"]
        assert {kind, ANY, "*"} & taken(known[nodes[target]["type"]], name)
    assert max(nodes) <= workflow["last_node_id"]
    assert any(node["type"] in ONLY_SHOWN for node in workflow["nodes"]), "a note says what to try"


@named
def test_the_api_format_is_the_same_graph(path, comfy):
    assert load(api_path(path)) == to_api(load(path), comfy.object_info())


@named
def test_nothing_overlaps_and_groups_have_titles(path):
    """By the sizes that the file has; tests/browser measures what is really drawn."""
    workflow = load(path)
    boxes = {node["id"]: (*node["pos"], *node["size"]) for node in workflow["nodes"]}
    drawn = [(x, y - TITLE, x + w, y + h) for x, y, w, h in boxes.values()]
    assert not [(a, b) for a, b in itertools.combinations(drawn, 2) if overlap(a, b)]
    groups = [(x, y, x + w, y + h) for x, y, w, h in (group["bounding"] for group in workflow["groups"])]
    assert len(groups) >= 3
    assert all(group["title"] for group in workflow["groups"])
    assert not [(a, b) for a, b in itertools.combinations(groups, 2) if overlap(a, b)]
    outside = [box for box in drawn if not any(within(box, group) for group in groups)]
    assert len(outside) == 1, "the note alone lies outside"


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def within(box, group):
    return group[0] <= box[0] and group[1] <= box[1] and box[2] <= group[2] and box[3] <= group[3]


@named
def test_big_models_can_be_downloaded(path):
    """What names a file that does not come with the pack tells ComfyUI's browser where it is."""
    named_files, offered = set(), {}
    for node in load(path)["nodes"]:
        if node["type"] in ONLY_SHOWN:
            continue
        values = {value for value in node["widgets_values"] if str(value).endswith(".safetensors")}
        named_files |= values
        for model in node["properties"].get("models", []):
            assert model["name"] in values, "the browser looks for the node's own value"
            assert re.fullmatch(r"https://huggingface\.co/[\w.-]+/[\w.-]+/resolve/main/.+\.safetensors", model["url"])
            offered[model["name"]] = model["directory"]
    converted = {stand_ins.PREFERENCE}  # made by `python -m prefgen convert`
    assert set(offered) == named_files - converted - {path.name for path in LORA_FOLDER.glob("*.safetensors")}
    assert set(offered.values()) <= {"checkpoints", "ipadapter", "clip_vision"}


@named
def test_it_runs_and_shows_a_picture(path, comfy):
    stand_ins.place(comfy.server.base)
    workflow = load(path)
    graph = to_api(stand_ins.in_small(workflow), comfy.object_info())
    if not stand_ins.needed(workflow):
        assert graph == load(api_path(path)), "runs as it is shipped"
    result = comfy.run(graph)
    saved = [node for node, given in graph.items() if given["class_type"] == "SaveImage"]
    assert saved
    for node in saved:
        pixels = result.pixels(node)
        if not graph[node]["inputs"]["filename_prefix"].endswith("sorted"):  # copies are as large as the files
            assert min(pixels.shape[1:3]) >= (96 if stand_ins.needed(workflow) else 512), "large enough for a screen"
        assert np.isfinite(pixels).all()
        assert pixels.std() > 0.02, "one flat colour is no picture"


def run(comfy, name, change=lambda graph: None):
    """Run a workflow after a change; its nodes by type, in order, and the result."""
    stand_ins.place(comfy.server.base)
    graph = to_api(stand_ins.in_small(load(browser_path(name))), comfy.object_info())
    change(graph)
    result = comfy.run(graph)
    nodes = {}
    for node, given in graph.items():
        nodes.setdefault(given["class_type"], []).append(node)
    return graph, nodes, result


def check_sorted(nodes, result, count):
    """The copies lie in the order of the scores, and the best one is shown enlarged."""
    told = result.of(nodes["PreferenceScore"][0])
    scores = [told["scores"][place] for place in told["ranking"]]
    assert sorted(told["ranking"]) == list(range(count)), "one set, not one image at a time"
    assert scores == sorted(scores, reverse=True)
    copies = result.pictures(nodes["SaveImage"][0])
    best = result.pictures(nodes["PreviewImage"][0])[0]
    assert len(copies) == count
    assert difference(copies[0].resize(best.size, Image.Resampling.LANCZOS), best) < 2
    names = [reference["filename"] for reference in result.of(nodes["SaveImage"][0])["images"]]
    assert names == sorted(names), "files sort as the scores do"


def test_posters_are_saved_best_first_and_nothing_is_needed_for_it(comfy):
    _, nodes, result = run(comfy, "score_and_sort")
    check_sorted(nodes, result, 16)


def test_a_folder_of_mixed_sizes_is_sorted_once_its_node_is_connected(comfy):
    """As the note says: choose the folder, and connect the node to Score Images."""

    def connect(graph):
        kinds = {given["class_type"]: node for node, given in graph.items()}
        graph[kinds["LoadImageDataSetFromFolder"]]["inputs"]["folder"] = stand_ins.FOLDER
        graph[kinds["PreferenceScore"]]["inputs"]["images"] = [kinds["LoadImageDataSetFromFolder"], 0]

    _, nodes, result = run(comfy, "score_and_sort", connect)
    check_sorted(nodes, result, 8)


SIZE, BAR = 96, 4  # of a picture, and of what Image Stitch puts between two


def stitched(result, nodes, count):
    """The pictures that were put side by side and enlarged six times, without the edges where enlarging mixes them."""
    pixels = result.pixels(nodes["SaveImage"][0])[0]
    step, edge = 6 * (SIZE + BAR), 30
    return [pixels[edge:-edge, place * step + edge : place * step + 6 * SIZE - edge] for place in range(count)]


def test_three_tastes_are_three_pictures(comfy):
    _, nodes, result = run(comfy, "blend_two_people")
    ada, both, bo = stitched(result, nodes, 3)
    assert min(np.abs(ada - bo).mean(), np.abs(ada - both).mean(), np.abs(both - bo).mean()) > 0.01


def test_with_and_without_differ_and_strength_0_is_without(comfy):
    _, nodes, result = run(comfy, "compare_with_and_without")
    without, with_taste = stitched(result, nodes, 2)
    assert np.abs(without - with_taste).mean() > 0.01

    def plain(graph):
        for given in graph.values():
            if given["class_type"] == "ApplyPreferenceAdapter":
                given["inputs"]["strength"] = 0.0

    _, nodes, result = run(comfy, "compare_with_and_without", plain)
    without, with_taste = stitched(result, nodes, 2)
    assert np.array_equal(without, with_taste)


@pytest.mark.parametrize("name", ["reno", "reno_sdxl_turbo"])
def test_the_noise_that_was_optimised_has_a_better_reward(comfy, name):
    _, nodes, result = run(comfy, name)
    told = result.of(nodes["ReNOOptimize"][0])
    assert told["best"][0] > told["rewards"][0][0]
    if name == "reno":
        before, after = stitched(result, nodes, 2)
    else:
        both = result.pixels(nodes["PreviewImage"][1])[0]
        before, after = both[:, :SIZE], both[:, -SIZE:]
        assert np.array_equal(after, result.pixels(nodes["SaveImage"][0])[0])
    assert np.abs(before - after).mean() > 0.01


@pytest.mark.parametrize("name", ["rate_and_learn", "personalise_sdxl"])
def test_one_profile_is_rated_and_loaded_and_a_thumb_changes_the_next_pictures(comfy, name):
    def painted(liked="", disliked=""):
        """The pictures of a run, which rates some of them: it paints by the ratings before it."""

        def change(graph):
            for given in graph.values():
                if given["class_type"] == "RecordPreference":
                    given["inputs"] |= {"liked": liked, "disliked": disliked}
                if given["class_type"] == "KSampler":
                    given["inputs"]["seed"] = 5

        graph, nodes, result = run(comfy, name, change)
        assert value(graph, "LoadUserHistory", "user") == value(graph, "RecordPreference", "profile")
        return result.pixels(nodes["SaveImage"][0])

    plain, again, by_likes, by_both = painted(), painted(liked="0"), painted(disliked="1"), painted()
    assert len(plain) == 4, "enough to choose from"
    assert np.array_equal(plain, again)
    assert (by_likes != plain).any(axis=(1, 2, 3)).all()
    assert (by_both != by_likes).any(axis=(1, 2, 3)).all(), "a thumb down counts"


def value(graph, kind, field):
    """A node's input, which a primitive may provide."""
    (given,) = (given for given in graph.values() if given["class_type"] == kind)
    found = given["inputs"][field]
    return graph[found[0]]["inputs"]["value"] if isinstance(found, list) else found


def test_an_ip_adapter_file_paints_to_the_liked_images(comfy):
    """In every picture it shows that there is a user, and who. Where nothing is applied a run gives the same to the
    bit, so any difference is the user's; how large it is says something of the stand-in's weights alone."""

    def painted(kind, setting, value):
        def change(graph):
            for given in graph.values():
                if given["class_type"] == kind:
                    given["inputs"][setting] = value

        _, nodes, result = run(comfy, "personalise_sdxl", change)
        return result.pixels(nodes["SaveImage"][0])

    ada, bo = (painted("LoadUserHistory", "user", name) for name in ("ada", "bo"))
    plain = painted("ApplyPreferenceAdapter", "strength", 0.0)
    for one, other in ((ada, plain), (bo, plain), (ada, bo)):
        assert (one != other).any(axis=(1, 2, 3)).all()
