"""A pack for one test: it says that Load User History was once called otherwise, had its user and its images elsewhere,
and no history."""

import importlib.util
from pathlib import Path

from comfy_api.latest import ComfyExtension

# from the file: a pack's modules have names made of the path they are loaded from
FILE = Path(__file__).resolve().parents[3] / "nodes" / "replacements.py"
SPEC = importlib.util.spec_from_file_location("replacements_of_prefgen", FILE)
replacements = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(replacements)

ENTRY = replacements.renamed(
    "OpenPictures",
    "LoadUserHistory",
    widgets=("person", "seed", replacements.CONTROL, "max_pairs"),
    inputs={"person": "user", "seed": "half_life_days"},
    outputs=(2, 1),
)


class OldNames(ComfyExtension):
    async def on_load(self):
        await replacements.register((ENTRY,))

    async def get_node_list(self):
        return []


async def comfy_entrypoint():
    return OldNames()
