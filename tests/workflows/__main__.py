"""Write workflows/api anew from workflows, after one was changed in the browser.

make python ARGS="-m tests.workflows"
"""

import json

from tests.comfyui import Client, running_server
from tests.workflows.convert import to_api
from tests.workflows.names import FOLDER, api_path


def main() -> None:
    with running_server() as server:
        info = Client(server).object_info()
    for path in sorted(FOLDER.glob("*.json")):
        graph = to_api(json.loads(path.read_text(encoding="utf-8")), info)
        target = api_path(path)
        target.write_text(json.dumps(graph, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(target.relative_to(FOLDER.parent))


if __name__ == "__main__":
    main()
