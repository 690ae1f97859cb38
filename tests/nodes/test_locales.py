"""Node texts in every language: complete, up to date with the nodes, readable by the browser, and served by ComfyUI."""

import json
import re

import pytest

from scripts import locales, schemas

KINDS_OF_WRITING = {"zh": r"[\u4e00-\u9fff]", "ja": r"[\u3040-\u30ff]"}  # Chinese characters; kana
SPECIAL = "{}@|"  # the browser's translation library reads these as its own syntax
NUMBERS = r"\d+(?:\.\d+)?"
FILES = r"\w+(?:/\w+)+|[\w-]*\.safetensors"
translated = pytest.mark.parametrize("language", locales.TRANSLATED)


@pytest.mark.server
def test_english_is_what_the_nodes_say(comfy):
    told = locales.english(schemas.pack_nodes(comfy.object_info()))
    assert locales.read("en") == told, 'write it anew with: make python ARGS="-m scripts.schemas"'


@translated
def test_every_text_is_translated_and_none_is_left_over(language):
    missing, stale = locales.gaps(locales.read("en"), locales.read(language))
    assert (missing, stale) == ([], [])


def test_gaps_are_seen():
    english = {"Node": {"description": "a", "inputs": {"images": {"name": "images", "tooltip": "b"}}}}
    other = {"Node": {"description": "a", "inputs": {"image": {"name": "c"}}}, "Gone": {"description": "d"}}
    missing, stale = locales.gaps(english, other)
    assert missing == ["Node.inputs.images.name", "Node.inputs.images.tooltip"]
    assert stale == ["Node.inputs.image.name", "Gone.description"]


@translated
def test_sentences_are_in_their_language(language):
    english, other = locales.read("en"), locales.read(language)
    for path, text in locales.leaves(other).items():
        if path.endswith(("tooltip", "description")):
            assert re.search(KINDS_OF_WRITING[language], text), path
    assert not [name for name, node in other.items() if node["display_name"] == english[name]["display_name"]]


@translated
def test_numbers_and_files_are_those_of_the_english_text(language):
    """A number that changed in a node, and not in a translation, is one that misleads."""
    other = locales.leaves(locales.read(language))
    for path, text in locales.leaves(locales.read("en")).items():
        for pattern in (NUMBERS, FILES):
            assert set(re.findall(pattern, text)) <= set(re.findall(pattern, other[path], re.ASCII)), path


@translated
def test_a_node_is_called_the_same_in_other_nodes_texts(language):
    """Node names in quotation marks are names of our nodes, or of their inputs, or values."""
    texts = locales.read(language)
    known = {node["display_name"] for node in texts.values()} | {"pocket"}
    known |= {given["name"] for node in texts.values() for given in node.get("inputs", {}).values()}
    for path, text in locales.leaves(texts).items():
        assert set(re.findall("[“「](.+?)[”」]", text)) <= known, path


@pytest.mark.parametrize("language", locales.LANGUAGES)
def test_the_browser_can_read_every_text(language):
    for path, text in locales.leaves(locales.read(language)).items():
        assert text.strip() == text, path
        assert text, path
        assert not set(text) & set(SPECIAL), path


@pytest.mark.server
def test_comfyui_serves_every_language(comfy):
    served = json.loads(comfy.request("/i18n"))
    for language in locales.LANGUAGES:
        texts = locales.read(language)
        assert texts
        assert {name: served[language]["nodeDefs"].get(name) for name in texts} == texts
