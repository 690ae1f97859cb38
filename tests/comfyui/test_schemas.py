"""Every node of the pack, as the server tells the browser about it."""

import pytest


@pytest.fixture
def pack(comfy):
    nodes = {
        name: info for name, info in comfy.object_info().items() if info["python_module"] == "custom_nodes.prefgen"
    }
    assert nodes, "the server loaded no node of this pack; see its log"
    return nodes


def inputs(info):
    return {name: given for part in ("required", "optional") for name, given in info["input"].get(part, {}).items()}


def test_the_pack_is_whole(pack):
    assert set(pack) >= {
        *("LoadPreferenceModel", "BuildUserHistory", "LoadUserHistory", "EncodeUserHistory", "PreferenceScore"),
        *("ApplyPreferenceAdapter", "ReNOOptimize", "LoadPocketGenerator", "PreferenceModelFromIPAdapter"),
        *("SaveUserEmbedding", "LoadUserEmbedding", "BlendUserEmbeddings"),
    }


def test_every_node_is_described_and_found(pack):
    for name, info in pack.items():
        assert info["category"].split("/")[0] == "PrefGen", name
        assert info["description"], name
        assert info["display_name"] != name or " " not in info["display_name"], name
        assert info["search_aliases"], name


def test_every_input_and_output_has_a_tooltip(pack):
    bare = [
        f"{name}.{socket}"
        for name, info in pack.items()
        for socket, given in inputs(info).items()
        if len(given) < 2 or not given[1].get("tooltip")
    ]
    bare += [
        f"{name} -> {socket}"
        for name, info in pack.items()
        for socket, tip in zip(info["output_name"], info.get("output_tooltips") or [None] * 99, strict=False)
        if not tip
    ]
    assert not bare
