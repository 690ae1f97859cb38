"""Reads and writes the translations of node texts in locales/<language>/nodeDefs.json, which ComfyUI loads.

The English file is generated from the nodes by `scripts/schemas.py`; the others are written by hand.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "locales"
TRANSLATED = ("zh", "ja")
LANGUAGES = ("en", *TRANSLATED)


def english(nodes: dict) -> dict:
    """Collect the English texts of nodes from a server's /object_info, by node id."""
    return {name: node_texts(info) for name, info in sorted(nodes.items())}


def node_texts(info: dict) -> dict:
    """Collect a node's name and description, and the name and tooltip of each input (by id) and output (by index).

    An output that is named after its type has no name entry, because the browser translates type names itself.
    """
    texts = {"display_name": info["display_name"], "description": info["description"], "inputs": {}, "outputs": {}}
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            options = info["input"][group][name][1]
            texts["inputs"][name] = {"name": options.get("display_name", name), "tooltip": options["tooltip"]}
    for index, name in enumerate(info["output_name"]):
        name_entry = {} if name == info["output"][index] else {"name": name}
        texts["outputs"][str(index)] = {**name_entry, "tooltip": info["output_tooltips"][index]}
    return {key: value for key, value in texts.items() if value}


def read(language: str) -> dict:
    """Load the texts of a language; empty if there are none yet."""
    path = FOLDER / language / "nodeDefs.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(language: str, texts: dict) -> None:
    """Write the texts of a language."""
    path = FOLDER / language / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def leaves(texts: dict, path: str = "") -> dict[str, str]:
    """Flatten texts to path -> text, for example `PreferenceScore.inputs.images.tooltip`."""
    flat = {}
    for key, value in texts.items():
        flat |= leaves(value, f"{path}{key}.") if isinstance(value, dict) else {path + key: value}
    return flat


def gaps(texts: dict, translated: dict) -> tuple[list[str], list[str]]:
    """Return the paths that are missing from a translation, and the paths that exist only in the translation."""
    required, existing = leaves(texts), leaves(translated)
    return [path for path in required if path not in existing], [path for path in existing if path not in required]
