"""Runs all measuring commands, and prints a table of the acceptance criteria.

    make bars          (or: make python ARGS="-m benchmarks.bars --only prediction scoring")

Takes hours on two processor cores. You can interrupt and continue it, because results for the same version of the code
are reused. Writes the table (bars.md), bars.json, and the log and the result of every command to out/bars/. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.bars.criteria import commands, criteria
from benchmarks.bars.runner import code_version, run_all
from benchmarks.bars.table import markdown, to_json, verdicts

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "out" / "bars"


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    names = [command.name for command in commands()]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bars", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME", help=", ".join(names))
    parser.add_argument("--again", action="store_true", help="also rerun commands that have a result for this version")
    parser.add_argument("--show", action="store_true", help="run nothing, only print the table of existing results")
    parser.add_argument("--peer", help="checkout of ComfyUI_IPAdapter_plus, for the adapter benchmark")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results (default: out/bars)")
    arguments = parser.parse_args(argv)
    results = run_all(commands(arguments.peer), arguments.out, ROOT, arguments.only, arguments.again, arguments.show)
    checked, version = verdicts(criteria(), results), code_version(ROOT)
    text, result = markdown(checked, version), to_json(checked, version)
    (arguments.out / "bars.md").write_text(text, encoding="utf-8")
    (arguments.out / "bars.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.stderr.flush()
    print(text)
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
