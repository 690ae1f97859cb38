"""The texts of our nodes by language, in the files that ComfyUI reads: locales/<language>/nodeDefs.json.

English is written from the nodes themselves by `scripts/schemas.py`; the others are written by people.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "locales"
TRANSLATED = ("zh", "ja")
LANGUAGES = ("en", *TRANSLATED)


def english(nodes: dict) -> dict:
    """The texts of nodes as a server's /object_info tells of them: by node id, as the browser looks them up."""
    return {name: node_texts(info) for name, info in sorted(nodes.items())}


def node_texts(info: dict) -> dict:
    """A node's name and description, and the name and tooltip of each input (by id) and output (by place).

    An output that is called as its type has no name here: the browser has its own word for the type.
    """
    texts = {"display_name": info["display_name"], "description": info["description"], "inputs": {}, "outputs": {}}
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            options = info["input"][group][name][1]
            texts["inputs"][name] = {"name": options.get("display_name", name), "tooltip": options["tooltip"]}
    for place, name in enumerate(info["output_name"]):
        named = {} if name == info["output"][place] else {"name": name}
        texts["outputs"][str(place)] = {**named, "tooltip": info["output_tooltips"][place]}
    return {key: value for key, value in texts.items() if value}


def read(language: str) -> dict:
    """A language's texts; empty where it has none yet."""
    path = FOLDER / language / "nodeDefs.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(language: str, texts: dict) -> None:
    path = FOLDER / language / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def leaves(texts: dict, path: str = "") -> dict[str, str]:
    """Every text by its path, as in `PreferenceScore.inputs.images.tooltip`."""
    found = {}
    for key, value in texts.items():
        found |= leaves(value, f"{path}{key}.") if isinstance(value, dict) else {path + key: value}
    return found


def gaps(texts: dict, translated: dict) -> tuple[list[str], list[str]]:
    """The paths that a translation of these texts lacks, and those that it has and the texts no longer do."""
    wanted, had = leaves(texts), leaves(translated)
    return [path for path in wanted if path not in had], [path for path in had if path not in wanted]
