"""Renders a dataset of agents with a running ComfyUI.

    python -m train.data.render --set DATASET --server URL --workflow api.json

The workflow must be exported with Export (API). Nodes are found automatically if there is one for each purpose;
otherwise pass their id or title. A PreviewImage node instead of SaveImage keeps the server's output folder empty.
"""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from prefgen.errors import PrefGenError
from train.data.render import Places, RenderConfig, Server, Workflow, render_set


def main(arguments: list[str] | None = None) -> None:
    """Run the command and print one JSON object as the last line."""
    parser = argparse.ArgumentParser(prog="python -m train.data.render", description=__doc__.splitlines()[0])
    parser.add_argument("--set", type=Path, required=True, help="dataset of train.data.agent_sets")
    parser.add_argument("--server", default="http://127.0.0.1:8188", help="a running ComfyUI (default: %(default)s)")
    parser.add_argument("--workflow", type=Path, required=True, help="workflow in API format")
    parser.add_argument("--out", type=Path, help="folder to create (default: name of the dataset with -rendered)")
    for name, takes in (("prompt", "the text"), ("seed", "the seed"), ("size", "width and height")):
        parser.add_argument(f"--{name}-node", help=f"id or title of the node that takes {takes}")
    parser.add_argument("--image-node", help="id or title of the node that returns the image")
    parser.add_argument("--words", default=RenderConfig.words, help="prompt template (default: %(default)s)")
    parser.add_argument("--size", type=_size, help="WIDTHxHEIGHT in pixels (default: size of the workflow)")
    parser.add_argument("--seed", type=int, default=RenderConfig.seed, help="random seed of all images")
    parser.add_argument("--ahead", type=int, default=RenderConfig.ahead, help="number of prompts in the queue")
    options = parser.parse_args(arguments)
    out = options.out or options.set.with_name(f"{options.set.name}-rendered")
    try:
        places = Places(options.prompt_node, options.seed_node, options.size_node, options.image_node)
        workflow = Workflow.read(options.workflow, places, sized=options.size is not None)
        config = RenderConfig(options.words, options.size, options.seed, options.ahead)
        show = lambda jobs: tqdm(jobs, desc="images", unit="image")  # noqa: E731
        count = render_set(options.set, out, Server(options.server), workflow, config, show)
    except PrefGenError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps({"out": str(out), "rendered": count, "workflow": workflow.digest}))


def _size(text: str) -> tuple[int, int]:
    width, height = (int(side) for side in text.split("x"))
    return width, height


if __name__ == "__main__":
    main()
