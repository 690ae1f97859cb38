"""What shared workflows rely on in our nodes, as a file in which a review sees it change; and the nodes' English texts.

    make python ARGS="-m scripts.schemas"

asks a real ComfyUI for the pack's nodes, writes tests/nodes/schemas.json and locales/en/nodeDefs.json anew, and says
which changes break workflows that people have, and what the other locales lack.
"""

import argparse
import json
from pathlib import Path

from scripts import locales

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "tests" / "nodes" / "schemas.json"
FOUND = "found at run time"
FOUND_AT_RUN_TIME = {
    ("LoadPreferenceModel", "checkpoint"),
    ("PreferenceModelFromIPAdapter", "file"),
    ("LoadUserHistory", "user"),
    ("ShowUserProfile", "user"),
    ("LoadUserEmbedding", "file"),
    ("ReNOOptimize", "scheduler"),
}
"""Inputs whose options are a machine's files and people, or ComfyUI's own."""


def ours(object_info: dict) -> dict:
    """Of the nodes that a server tells of, the pack's, by id."""
    return {name: info for name, info in object_info.items() if info["python_module"] == "custom_nodes.prefgen"}


def schema(node_id: str, info: dict) -> dict:
    """A node's inputs in their order, its outputs in theirs, and what kind of node it is; no texts."""
    inputs = []
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            kind, *more = info["input"][group][name]
            options = {key: value for key, value in (more[0] if more else {}).items() if key != "tooltip"}
            if (node_id, name) in FOUND_AT_RUN_TIME:
                options["options"] = FOUND
            inputs.append({"name": name, "type": kind, "optional": group == "optional", **options})
    outputs = [
        {"name": name, "type": kind, "list": many}
        for name, kind, many in zip(info["output_name"], info["output"], info["output_is_list"], strict=True)
    ]
    kind = {key: info[key] for key in ("category", "output_node", "is_input_list", "deprecated", "experimental")}
    return {**kind, "inputs": inputs, "outputs": outputs}


def schemas(object_info: dict) -> dict:
    """The schemas of our nodes, by id, sorted."""
    return {name: schema(name, info) for name, info in sorted(ours(object_info).items())}


def written(snapshot: dict) -> str:
    """The snapshot as text: a line an input and an output, so that a difference reads well."""
    nodes = []
    for name, node in snapshot.items():
        lines = [
            f"    {json.dumps(key)}: [\n      " + ",\n      ".join(map(json.dumps, value)) + "\n    ]"
            if isinstance(value, list) and value
            else f"    {json.dumps(key)}: {json.dumps(value)}"
            for key, value in node.items()
        ]
        nodes.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(nodes) + "\n}\n"


def breaks(old: dict, new: dict, replaced: frozenset[str] | set[str] = frozenset()) -> list[str]:
    """What a change of the schemas takes from workflows that were made with the old ones, a line each.

    A workflow in the browser's format knows a widget by its place, a script's knows an input by its name and may leave
    out what is optional; both know an output by its place. `replaced` are the old ids that `nodes/replacements.py`
    has an entry for.
    """
    told = [f"{name} is gone: nodes/replacements.py has no entry for it" for name in old.keys() - new.keys() - replaced]
    for name in old.keys() & new.keys():
        before, after = old[name], new[name]
        names = [given["name"] for given in before["inputs"]]
        if [given["name"] for given in after["inputs"]][: len(names)] != names:
            told.append(f"{name}: inputs are only appended, they were {', '.join(names)}")
        now = {given["name"]: given for given in after["inputs"]}
        told += [
            f"{name}.{new_name}: a new input is optional"
            for new_name in now.keys() - set(names)
            if not now[new_name]["optional"]
        ]
        for given in before["inputs"]:
            told += [f"{name}.{given['name']}: {text}" for text in changed(given, now.get(given["name"], given))]
        kinds = [[given[key] for key in ("type", "list")] for given in before["outputs"]]
        if [[given[key] for key in ("type", "list")] for given in after["outputs"]][: len(kinds)] != kinds:
            told.append(f"{name}: outputs are only appended, they were {', '.join(kind for kind, _ in kinds)}")
    return sorted(told)


def changed(before: dict, after: dict) -> list[str]:
    """The same for one input."""
    told = []
    if before["type"] != after["type"]:
        told.append(f"was {before['type']}, is {after['type']}")
    if before["optional"] and not after["optional"]:
        told.append("was optional, and workflows may lack it")
    if before["optional"] and before.get("default") != after.get("default"):
        told.append(f"default was {before.get('default')!r}, is {after.get('default')!r}")
    if isinstance(before.get("options"), list) and isinstance(after.get("options"), list):
        told += [f"option {option!r} is gone" for option in before["options"] if option not in after["options"]]
    told += [
        f"{limit} was {before[limit]}, is {after[limit]}"
        for limit, sign in (("min", 1), ("max", -1))
        if limit in before and limit in after and sign * after[limit] > sign * before[limit]
    ]
    return told


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    # here, because tests take the functions above and need no second server
    from tests.comfyui import Client, running_server

    with running_server() as server:
        client = Client(server)
        info = client.object_info()
        replaced = set(json.loads(client.request("/node_replacements")))
    write(info, replaced)


def write(info: dict, replaced: set[str]) -> None:
    """Write both files, and say what follows from what changed. info: a server's /object_info."""
    old = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    new = schemas(info)
    SNAPSHOT.write_text(written(new))
    for line in breaks(old, new, replaced):
        print(f"breaks workflows: {line}")
    before = locales.leaves(locales.read("en"))
    texts = locales.english(ours(info))
    locales.write("en", texts)
    after = locales.leaves(texts)
    for path in after.keys() & before.keys():
        if after[path] != before[path]:
            print(f"translate anew: {path}: {after[path]!r}")
    for language in locales.TRANSLATED:
        missing, stale = locales.gaps(texts, locales.read(language))
        print(*(f"{language} lacks {path}: {after[path]!r}" for path in missing), sep="\n", end="\n" * bool(missing))
        print(*(f"{language} has {path}, which is gone" for path in stale), sep="\n", end="\n" * bool(stale))
    print(f"{len(new)} nodes, {len(after)} texts: see {SNAPSHOT.relative_to(ROOT)} and locales/")


if __name__ == "__main__":
    main()
