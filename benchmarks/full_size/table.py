"""Formats rows as lines of text and as a Markdown table."""

from __future__ import annotations

COLUMNS = (
    ("row", "row"),
    ("precision", "precision"),
    ("ran", "what ran"),
    ("seconds", "seconds"),
    ("tokens_per_s", "tokens/s"),
    ("peak_gib", "peak GiB"),
    ("limit_s", "limit, s"),
    ("limited_by", "limit by"),
    ("ratio", "limit / seconds"),
    ("estimated_whole_s", "whole row, est. s"),
)
BEGIN, END = "<!-- full_size: begin -->", "<!-- full_size: end -->"


def line(row: dict) -> str:
    """Format one row as a line of text."""
    head = f"{row['row']:44}{row['precision']:24}"
    if "not_run" in row:
        needs = f", needs {row['needs_gib']} GiB" if "needs_gib" in row else ""
        return f"{head}not run: {row['not_run']}{needs}"
    timing = f"{row['seconds']:10.3f} s{row['peak_gib']:8.2f} GiB{row['limit_s']:12.4f} s{row['ratio']:8.3f}"
    part = f"   ({row['ran']} of {row['part_of']}; all est. {row['estimated_whole_s']} s)" if row["part_of"] else ""
    return f"{head}{timing}{part}"


def markdown(result: dict) -> str:
    """Format the table, with the name and the measured limits of the device."""
    lines = [
        BEGIN,
        f"{result['device']}; {result['dtype']} products {result['matmul_tflops']} TFLOP/s, copies "
        f"{result['bandwidth_gb_s']} GB/s; torch {result['torch']}. Geometry: {result['geometry']}.",
        "",
        "| " + " | ".join(title for _, title in COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    return "\n".join([*lines, *map(_cells, result["rows"]), END]) + "\n"


def _cells(row: dict) -> str:
    if "not_run" in row:
        needs = f": needs {row['needs_gib']} GiB" if "needs_gib" in row else ""
        row = row | {"ran": f"not run, {row['not_run']}{needs}"}
    elif row["part_of"]:
        row = row | {"ran": f"{row['ran']} (of {row['part_of']})"}
    values = (row.get(key) for key, _ in COLUMNS)
    return "| " + " | ".join("" if value is None else str(value) for value in values) + " |"


def replace_table(document: str, table: str) -> str:
    """Replace the table in a document.

    Raises:
        ValueError: The document has no table.
    """
    if BEGIN not in document or END not in document:
        raise ValueError(f"the document has no table between {BEGIN} and {END}")
    return document[: document.index(BEGIN)] + table.rstrip("\n") + document[document.index(END) + len(END) :]
