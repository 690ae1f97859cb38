"""Write workflows/api anew from workflows, after one was changed in the browser.

make python ARGS="-m tests.workflows"
"""

import json
from pathlib import Path

from tests.comfyui import Client, running_server
from tests.workflows.convert import to_api

FOLDER = Path(__file__).resolve().parents[2] / "workflows"


def main() -> None:
    with running_server() as server:
        info = Client(server).object_info()
    for path in sorted(FOLDER.glob("*.json")):
        graph = to_api(json.loads(path.read_text(encoding="utf-8")), info)
        target = FOLDER / "api" / path.name
        target.write_text(json.dumps(graph, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(target.relative_to(FOLDER.parent))


if __name__ == "__main__":
    main()
