"""The commands' common part: options, and a result written for programs, for readers and for the eye."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image

from prefgen.checkpoint.preference_model import POCKET, PreferenceModel, load_preference_model
from prefgen.errors import PrefGenError, error_message

OUT = Path("out/evaluate")
CLUSTERED = "± is half a 95 % interval, clustered by user."


@dataclass(frozen=True)
class Options:
    """What every command is told. users: of each kind, over all seeds. posters: of each subject; None: every test
    combination. document: a Markdown file whose section of the command's name is rewritten."""

    checkpoint: str
    users: int
    seeds: list[int]
    posters: int | None
    out: Path
    document: Path | None
    given: argparse.Namespace

    @property
    def told_seeds(self) -> str:
        """The seeds, for a sentence."""
        one = len(self.seeds) == 1
        return f"seed {self.seeds[0]}" if one else f"each of the seeds {', '.join(map(str, self.seeds))}"

    def model(self) -> PreferenceModel:
        """The checkpoint, on a GPU where there is one. Raises CheckpointError where it has no PrefDisc."""
        model = load_preference_model(self.checkpoint, "cuda" if torch.cuda.is_available() else "cpu")
        model.require("prefdisc")
        return model


@dataclass(frozen=True)
class Table:
    """A further table of a section, under its own small heading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """What a command found: `result` as JSON, and a section of Markdown with its picture.

    measured: what was measured, on how many, with which seeds. notes: what it comes to, a sentence each. more: tables
    behind the first. sheets: further pictures, by name.
    """

    title: str
    measured: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    result: dict
    figure: Figure
    notes: list[str] = field(default_factory=list)
    more: Sequence[Table] = ()
    sheets: Mapping[str, Image.Image] = field(default_factory=dict)

    def markdown(self, picture: str) -> str:
        """The section, with the picture's path as given; sheets lie beside it."""
        lines = [f"## {self.title}", "", self.measured, "", *_table(self.columns, self.rows)]
        for table in self.more:
            lines += [f"**{table.title}**", "", *_table(table.columns, table.rows)]
        lines += [*(f"- {note}" for note in self.notes), *([""] if self.notes else [])]
        stem = picture.removesuffix(".png")
        for name in self.sheets:
            lines += [f"![{self.title}: {name}]({stem}-{name}.jpg)", ""]
        return "\n".join([*lines, f"![{self.title}]({picture})", ""])

    def save(self, picture: Path) -> None:
        """Write the picture, and the sheets beside it: `<picture>-<name>.jpg`."""
        self.figure.savefig(picture, bbox_inches="tight", pad_inches=0.15)
        for name, sheet in self.sheets.items():
            sheet.save(picture.with_name(f"{picture.stem}-{name}.jpg"), quality=90)


def command(
    name: str,
    measure: Callable[[Options], Report],
    users: int,
    argv: Sequence[str] | None = None,
    add: Callable[[argparse.ArgumentParser], None] | None = None,
    about: str | None = None,
    least_seeds: int = 1,
) -> dict:
    """Parse, measure, write `result.json`, `table.md` and `picture.png` into --out, and print the result as one JSON
    object, the last line. Returns the result; ends with status 1 and a sentence for what cannot be used. add: adds the
    command's own options, found in `Options.given`. least_seeds: 2 where the interval is over seeds."""
    parser = argparse.ArgumentParser(prog=f"python -m train.evaluate.{name}", description=about)
    parser.add_argument("--checkpoint", default=POCKET, help="a preference checkpoint, or 'pocket' for the bundled one")
    parser.add_argument("--users", type=int, default=users, help="users of each kind, over all seeds")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of users and posters")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from the first")
    parser.add_argument(
        "--posters", type=int, help="posters of each subject (even); every test combination if not given"
    )
    parser.add_argument("--out", type=Path, default=OUT / name, help="where the result, table and picture go")
    parser.add_argument("--document", type=Path, help="a Markdown file in which to rewrite this command's section")
    if add:
        add(parser)
    given = parser.parse_args(argv)
    if given.seeds < least_seeds:
        parser.error(f"{given.seeds} seeds, expected at least {least_seeds}: the interval is over seeds")
    if given.users < 2 * given.seeds:
        parser.error(f"{given.users} users over {given.seeds} seeds: an interval needs two users a seed at least")
    if given.posters is not None and (given.posters < 4 or given.posters % 2):
        parser.error(f"{given.posters} posters of a subject, expected an even number from 4 on")
    seeds = list(range(given.seed, given.seed + given.seeds))
    options = Options(given.checkpoint, given.users, seeds, given.posters, given.out, given.document, given)
    started = time.monotonic()
    try:
        report = measure(options)
    except (PrefGenError, OSError) as error:
        parser.exit(1, f"{parser.prog}: {error_message(error)}\n")
    result = {**report.result, "seeds": seeds, "seconds": round(time.monotonic() - started, 1)}
    _write(name, report, result, options)
    print(json.dumps(result))
    return result


def replace_section(document: str, name: str, section: str) -> str:
    """A Markdown text with the section between `<!-- name -->` and `<!-- /name -->` exchanged, or added at the end."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    block = f"{first}\n{section.strip()}\n{last}"
    if first in document and last in document:
        before, rest = document.split(first, 1)
        return before + block + rest.split(last, 1)[1]
    return f"{document.rstrip()}\n\n{block}\n".lstrip()


def _write(name: str, report: Report, result: dict, options: Options) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "table.md").write_text(report.markdown("picture.png"))
    report.save(options.out / "picture.png")
    if options.document:
        pictures = options.document.with_suffix("")
        pictures.mkdir(parents=True, exist_ok=True)
        report.save(pictures / f"{name}.png")
        known = options.document.read_text() if options.document.exists() else ""
        section = report.markdown(f"{pictures.name}/{name}.png")
        options.document.write_text(replace_section(known, name, section))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(columns), _row(["---"] * len(columns)), *(_row(row) for row in rows), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
