"""Writes the snapshot of the node schemas and the English node texts.

    make python ARGS="-m scripts.schemas"

Reads the pack's nodes from a real ComfyUI, rewrites tests/nodes/schemas.json and locales/en/nodeDefs.json, and reports
which changes break existing workflows and which translations are missing.
"""

import argparse
import json
from pathlib import Path

from scripts import locales

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "tests" / "nodes" / "schemas.json"
DYNAMIC = "found at run time"
DYNAMIC_OPTIONS = {
    ("LoadPreferenceModel", "checkpoint"),
    ("PreferenceModelFromIPAdapter", "file"),
    ("LoadUserHistory", "user"),
    ("ShowUserProfile", "user"),
    ("LoadUserEmbedding", "file"),
    ("ReNOOptimize", "scheduler"),
}
"""Inputs whose options are local files, local users, or ComfyUI's own lists."""


def pack_nodes(object_info: dict) -> dict:
    """Select the pack's nodes from a server's /object_info, by id."""
    return {name: info for name, info in object_info.items() if info["python_module"] == "custom_nodes.prefgen"}


def schema(node_id: str, info: dict) -> dict:
    """Return a node's inputs and outputs in order, and its category and flags, without texts."""
    inputs = []
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            kind, *more = info["input"][group][name]
            options = {key: value for key, value in (more[0] if more else {}).items() if key != "tooltip"}
            if (node_id, name) in DYNAMIC_OPTIONS:
                options["options"] = DYNAMIC
            inputs.append({"name": name, "type": kind, "optional": group == "optional", **options})
    outputs = [
        {"name": name, "type": kind, "list": many}
        for name, kind, many in zip(info["output_name"], info["output"], info["output_is_list"], strict=True)
    ]
    kind = {key: info[key] for key in ("category", "output_node", "is_input_list", "deprecated", "experimental")}
    return {**kind, "inputs": inputs, "outputs": outputs}


def schemas(object_info: dict) -> dict:
    """Return the schemas of the pack's nodes, sorted by id."""
    return {name: schema(name, info) for name, info in sorted(pack_nodes(object_info).items())}


def format_snapshot(snapshot: dict) -> str:
    """Format the snapshot with one line for each input and output, so that diffs are readable."""
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
    """List the schema changes that break existing workflows.

    UI workflows refer to widgets by position. API workflows refer to inputs by name, and may leave out optional ones.
    Both refer to outputs by position. `replaced` contains the old ids that have an entry in `nodes/replacements.py`.
    """
    problems = [
        f"{name} is gone and has no entry in nodes/replacements.py" for name in old.keys() - new.keys() - replaced
    ]
    for name in old.keys() & new.keys():
        before, after = old[name], new[name]
        names = [given["name"] for given in before["inputs"]]
        if [given["name"] for given in after["inputs"]][: len(names)] != names:
            problems.append(f"{name}: inputs may only be appended; before, they were {', '.join(names)}")
        now = {given["name"]: given for given in after["inputs"]}
        problems += [
            f"{name}.{new_name}: new inputs must be optional"
            for new_name in now.keys() - set(names)
            if not now[new_name]["optional"]
        ]
        for given in before["inputs"]:
            problems += [f"{name}.{given['name']}: {text}" for text in changed(given, now.get(given["name"], given))]
        kinds = [[given[key] for key in ("type", "list")] for given in before["outputs"]]
        if [[given[key] for key in ("type", "list")] for given in after["outputs"]][: len(kinds)] != kinds:
            problems.append(
                f"{name}: outputs may only be appended; before, they were {', '.join(kind for kind, _ in kinds)}"
            )
    return sorted(problems)


def changed(before: dict, after: dict) -> list[str]:
    """List the breaking changes of one input."""
    problems = []
    if before["type"] != after["type"]:
        problems.append(f"was {before['type']}, is {after['type']}")
    if before["optional"] and not after["optional"]:
        problems.append("was optional; workflows may leave it out")
    if before["optional"] and before.get("default") != after.get("default"):
        problems.append(f"default was {before.get('default')!r}, is {after.get('default')!r}")
    if isinstance(before.get("options"), list) and isinstance(after.get("options"), list):
        problems += [f"option {option!r} is gone" for option in before["options"] if option not in after["options"]]
    problems += [
        f"{limit} was {before[limit]}, is {after[limit]}"
        for limit, sign in (("min", 1), ("max", -1))
        if limit in before and limit in after and sign * after[limit] > sign * before[limit]
    ]
    return problems


def main() -> None:
    """Run the command."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    # Imported here, because tests of the functions above need no server.
    from tests.comfyui import Client, running_server

    with running_server() as server:
        client = Client(server)
        info = client.object_info()
        replaced = set(json.loads(client.request("/node_replacements")))
    write(info, replaced)


def write(info: dict, replaced: set[str]) -> None:
    """Write both files, and report what the changes affect. `info` is a server's response to /object_info."""
    old = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    new = schemas(info)
    SNAPSHOT.write_text(format_snapshot(new))
    for line in breaks(old, new, replaced):
        print(f"breaks workflows: {line}")
    before = locales.leaves(locales.read("en"))
    texts = locales.english(pack_nodes(info))
    locales.write("en", texts)
    after = locales.leaves(texts)
    for path in after.keys() & before.keys():
        if after[path] != before[path]:
            print(f"translate again: {path}: {after[path]!r}")
    for language in locales.TRANSLATED:
        missing, stale = locales.gaps(texts, locales.read(language))
        print(*(f"{language} lacks {path}: {after[path]!r}" for path in missing), sep="\n", end="\n" * bool(missing))
        print(*(f"{language} has {path}, which is gone" for path in stale), sep="\n", end="\n" * bool(stale))
    print(f"{len(new)} nodes, {len(after)} texts: see {SNAPSHOT.relative_to(ROOT)} and locales/")


if __name__ == "__main__":
    main()
