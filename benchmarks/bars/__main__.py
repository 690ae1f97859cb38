"""Run every command that shows a bar, and print one table with what holds and what falls short.

    make bars          (or: make python ARGS="-m benchmarks.bars --only prediction scoring")

Takes hours on two processor cores. It may be stopped and started again: what has answered under the same version of the
code is not run again. out/bars/ gets the table (bars.md), bars.json, and a log and an answer of every command. The last
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
    names = [command.name for command in commands()]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bars", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME", help=", ".join(names))
    parser.add_argument("--again", action="store_true", help="run also what has answered under this version")
    parser.add_argument("--show", action="store_true", help="run nothing: the table of what there is")
    parser.add_argument("--peer", help="a checkout of ComfyUI_IPAdapter_plus, for the adapter's benchmark")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of results (default: out/bars)")
    given = parser.parse_args(argv)
    every = commands(given.peer)
    results = run_all(every, given.out, ROOT, given.only, given.again, given.show)
    told, version = verdicts(criteria(), results), code_version(ROOT)
    text, answer = markdown(told, version), to_json(told, version)
    (given.out / "bars.md").write_text(text, encoding="utf-8")
    (given.out / "bars.json").write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    sys.stderr.flush()
    print(text)
    print(json.dumps(answer))
    return answer


if __name__ == "__main__":
    main()
