"""Runs the cases on a ComfyUI server whose only node pack is one checkout."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.comfyui import Client, Interrupted, NodeError, PromptRefused, Result, running_server
from tests.comfyui.server import PROBES, ServerFailed

from .cases import Case
from .outputs import Outputs, failed, tensor_file, value_text
from .renames import PACK_MODULE, translate
from .stand_ins import use_pocket_models, write_stand_ins

USER_FOLDERS = ("user/prefgen", "user/default/prefgen")
"""Folders of embeddings and of profiles in a server's base folder."""
EMBEDDINGS = "user/prefgen/embeddings"
TEXTS = ("text", "notice", "title")
"""Outputs of the pack's nodes that are texts for users."""
RANDOM = ("version",)
"""Outputs of the pack's nodes that differ in every run."""
PICTURES_WITH_TEXT = ("ShowUserProfile",)
"""Nodes whose picture contains sentences. The picture is compared only if a case saves it."""
TIMEOUT = 1200.0
"""Maximum number of seconds for one graph."""


@dataclass(frozen=True)
class Stage:
    """The server of one revision, on which the cases run.

    Attributes:
        checkout: The revision's files.
        before: Files of the earlier revision. They provide the models and images.
        user_files: Folder in which the earlier revision leaves its profiles and embeddings for the later revision.
        writes: Whether this is the earlier revision, which writes `user_files`.
    """

    checkout: Path
    before: Path
    user_files: Path
    writes: bool


def run_cases(stage: Stage, cases: list[Case], report: Callable[[str], None]) -> dict[str, Outputs]:
    """Start a server, run every case and return the outputs by case name.

    Cases that read user files run twice: on the files of this revision, and on those of the earlier revision.
    """
    with running_server({"prefgen": stage.checkout, "probes": PROBES}) as server:
        write_stand_ins(stage.before, server.base)
        client = Client(server)
        outputs = run_on(client, cases, stage.checkout, report)
        exchange_user_files(server.base, stage)
        readers = [replace(case, name=f"{case.name} (files of before)") for case in cases if case.reads_user_files]
        return outputs | run_on(client, readers, stage.checkout, report)


def run_on(client: Client, cases: list[Case], checkout: Path, report: Callable[[str], None]) -> dict[str, Outputs]:
    """Run cases on a running server, and return the outputs by case name. Cases that read user files run last.

    Raises:
        ServerFailed: The server has ended.
    """
    outputs = {}
    for case in sorted(cases, key=lambda case: case.reads_user_files):
        report(case.name)
        outputs[case.name] = run_case(client, case, checkout)
        if not client.server.alive:
            raise ServerFailed(f"The server ended at {case.name!r}.\n{client.server.log_tail()}")
    return outputs


def report_to_stderr(label: str) -> Callable[[str], None]:
    """Return a function that prints the name of the running case after a label."""
    return lambda name: print(f"{label}: {name}", file=sys.stderr, flush=True)


def exchange_user_files(base: Path, stage: Stage) -> None:
    """Store the user files of the earlier revision, or replace those of the later revision with them."""
    for name in USER_FOLDERS:
        source, target = (base, stage.user_files) if stage.writes else (stage.user_files, base)
        shutil.rmtree(target / name, ignore_errors=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)


def run_case(client: Client, case: Case, checkout: Path) -> Outputs:
    """Run one case and return its outputs, or the error that ended it."""
    object_info = client.object_info()
    try:
        graph = translate(case.graph, object_info)
        result = client.run(graph, timeout=TIMEOUT)
    except (ValueError, NodeError, PromptRefused, Interrupted, TimeoutError) as error:
        return failed(error)
    outputs = {}
    for node_id, node in sorted(graph.items()):
        ours = object_info[node["class_type"]]["python_module"] == PACK_MODULE
        outputs |= node_outputs(result, node_id, node["class_type"], ours)
    for name in case.embedding_files:
        outputs |= tensor_file(client.server.base / EMBEDDINGS / f"{name}.safetensors", f"{name}.safetensors")
    if case.workflow:
        shipped = shipped_graph(checkout / "workflows" / "api" / case.workflow)
        outputs["the workflow file has this graph"] = value_text(shipped == graph)
    return outputs


def shipped_graph(path: Path) -> dict | None:
    """Return the workflow that a revision ships, with pocket models; None if the file is gone."""
    return use_pocket_models(json.loads(path.read_text())) if path.is_file() else None


def node_outputs(result: Result, node_id: str, class_type: str, ours: bool) -> Outputs:
    """Return the outputs that one node showed: pixels, tensors at full precision, and JSON values, but no texts."""
    ui = result.of(node_id)
    name = f"{class_type} {node_id}"
    if class_type == "ProbeSave":
        return {f"{name}: tensor": result.tensor(node_id)} if ui else {}
    pictures = [] if class_type in PICTURES_WITH_TEXT else result.pictures(node_id)
    outputs: Outputs = {f"{name}: image {index}": np.asarray(picture) for index, picture in enumerate(pictures)}
    left_out = {"images", "animated", *(TEXTS + RANDOM if ours else ())}
    return outputs | {f"{name}: {key}": value_text(value) for key, value in ui.items() if key not in left_out}
