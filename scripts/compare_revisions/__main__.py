"""Prove that a refactoring changed no behaviour: run two revisions and compare their outputs bit for bit.

    make python ARGS="-m scripts.compare_revisions --before REVISION"
    make python ARGS="-m scripts.compare_revisions --before REVISION --after REVISION --only 'node ReNO*'"

Each revision is checked out into a temporary folder and is the only node pack of a real ComfyUI server. Both servers
run the same graphs: every workflow in workflows/api (taken from the earlier revision, with pocket models instead of
large ones) and at least one graph for each node. `python -m demo` and `python -m prefgen` run in both checkouts. The
tables in `renames.py` translate inputs and options that were renamed in between. Texts for users are not compared.

Prints one line for each case and, at the end, the summary as one JSON line. The exit status is 1 if anything differs.
For both revisions, the helpers that start ComfyUI and post graphs come from the working tree.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from .cases import Case, node_cases, workflow_cases
from .checkouts import WORKING_TREE, check_out, commit_name
from .commands import COMMANDS, run_command
from .outputs import Outputs, digests
from .running import Stage, run_cases
from .table import Comparison, compare, print_table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="revision before the change")
    parser.add_argument("--after", default=WORKING_TREE, help=f"revision after the change (default: {WORKING_TREE!r})")
    parser.add_argument("--only", default="*", help="run only the cases whose name matches this pattern, e.g. 'node *'")
    parser.add_argument("--digests", type=Path, help="write the SHA-256 of every output to this JSON file")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="prefgen-compare-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        checkouts = {
            "before": check_out(arguments.before, work / "checkouts" / "before" / "prefgen"),
            "after": check_out(arguments.after, work / "checkouts" / "after" / "prefgen"),
        }
        print(f"before: {commit_name(arguments.before)}\nafter:  {commit_name(arguments.after)}\n", flush=True)
        matches = lambda name: fnmatch(name, arguments.only)  # noqa: E731
        cases = [case for case in [*workflow_cases(checkouts["before"]), *node_cases()] if matches(case.name)]
        outputs = {side: run_side(side, checkouts, cases, work, matches) for side in ("before", "after")}
    comparisons = [compare(name, outputs["before"][name], outputs["after"][name]) for name in outputs["before"]]
    if arguments.digests:
        listed = {side: {name: digests(found) for name, found in of.items()} for side, of in outputs.items()}
        arguments.digests.write_text(json.dumps(listed, indent=1) + "\n")
    print_table(comparisons)
    print(json.dumps(summarise(comparisons)))
    return 0 if comparisons and all(comparison.identical for comparison in comparisons) else 1


def run_side(
    side: str, checkouts: dict[str, Path], cases: list[Case], work: Path, matches: Callable[[str], bool]
) -> dict[str, Outputs]:
    """Return the outputs of one revision by case name."""

    def report(name: str) -> None:
        print(f"{side}: {name}", file=sys.stderr, flush=True)

    outputs = {}
    if cases:
        stage = Stage(checkouts[side], checkouts["before"], work / "user files of before", writes=side == "before")
        outputs |= run_cases(stage, cases, report)
    for name, command in COMMANDS.items():
        if matches(name):
            report(name)
            outputs[name] = run_command(command, checkouts[side], checkouts["before"], work / side / name)
    return outputs


def summarise(comparisons: list[Comparison]) -> dict:
    different = [comparison.name for comparison in comparisons if not comparison.identical]
    return {"identical": bool(comparisons) and not different, "cases": len(comparisons), "different": different}


if __name__ == "__main__":
    sys.exit(main())
