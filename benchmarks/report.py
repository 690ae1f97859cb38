"""Writes and prints the result of a benchmark."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "out" / "benchmarks"


def write_report(name: str, result: dict, **details: object) -> None:
    """Write a result to out/benchmarks/<name>.json, and print it as the last line of the output.

    Args:
        name: Name of the benchmark.
        result: The result as JSON values.
        details: Further entries of the file, which are not printed. If there are any, the result becomes the entry
            "result" of the file.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = {"result": result, **details} if details else result
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(result))
