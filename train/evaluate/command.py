"""Shared parts of all evaluation commands: options, and reports written as JSON, Markdown and figures."""

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
SEED_NOTE = "± is half of the 95 % interval over seeds (Student's t)."
CLUSTERED_NOTE = "± is half of the 95 % interval, clustered by user."


@dataclass(frozen=True)
class Options:
    """Options shared by all evaluation commands.

    Attributes:
        checkpoint: Path of a preference checkpoint, or "pocket" for the bundled one.
        users: Number of users of each kind (seen and unseen), over all seeds.
        seeds: Seeds of users and posters.
        posters: Posters of each subject. None uses every test combination once.
        out: Folder for the result, the table and the figure.
        document: Markdown file in which the section of this command is replaced, or None.
        arguments: All parsed arguments, including the command's own.
    """

    checkpoint: str
    users: int
    seeds: list[int]
    posters: int | None
    out: Path
    document: Path | None
    arguments: argparse.Namespace

    @property
    def seeds_text(self) -> str:
        """Return the seeds as part of a sentence."""
        single = len(self.seeds) == 1
        return f"seed {self.seeds[0]}" if single else f"the seeds {', '.join(map(str, self.seeds))}"

    def model(self) -> PreferenceModel:
        """Load the checkpoint, on a GPU if there is one.

        Raises:
            CheckpointError: The checkpoint contains no PrefDisc.
        """
        model = load_preference_model(self.checkpoint, "cuda" if torch.cuda.is_available() else "cpu")
        model.require("prefdisc")
        return model


@dataclass(frozen=True)
class Table:
    """An additional table of a section, with its own heading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """The outcome of an evaluation command: JSON values, and a Markdown section with a figure.

    Attributes:
        title: Heading of the section.
        description: What was measured, the sample sizes and the seeds.
        columns: Column headings of the main table.
        rows: Rows of the main table.
        result: JSON values.
        figure: The figure.
        notes: Findings, one sentence each.
        extra_tables: Tables that follow the main table.
        sheets: Contact sheets by name.
    """

    title: str
    description: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    result: dict
    figure: Figure
    notes: list[str] = field(default_factory=list)
    extra_tables: Sequence[Table] = ()
    sheets: Mapping[str, Image.Image] = field(default_factory=dict)

    def markdown(self, picture: str) -> str:
        """Return the Markdown section. `picture` is the relative path of the figure; sheets are in the same folder."""
        lines = [f"## {self.title}", "", self.description, "", *_table(self.columns, self.rows)]
        for table in self.extra_tables:
            lines += [f"**{table.title}**", "", *_table(table.columns, table.rows)]
        lines += [*(f"- {note}" for note in self.notes), *([""] if self.notes else [])]
        stem = picture.removesuffix(".png")
        for name in self.sheets:
            lines += [f"![{self.title}: {name}]({stem}-{name}.jpg)", ""]
        return "\n".join([*lines, f"![{self.title}]({picture})", ""])

    def save(self, picture: Path) -> None:
        """Write the figure to `picture`, and each sheet to `<picture>-<name>.jpg` in the same folder."""
        self.figure.savefig(picture, bbox_inches="tight", pad_inches=0.15)
        for name, sheet in self.sheets.items():
            sheet.save(picture.with_name(f"{picture.stem}-{name}.jpg"), quality=90)


def run_command(
    name: str,
    measure: Callable[[Options], Report],
    default_users: int,
    argv: Sequence[str] | None = None,
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
    description: str | None = None,
    min_seeds: int = 1,
) -> dict:
    """Parse the options, run `measure`, and write the report.

    Writes `result.json`, `table.md` and `picture.png` into --out, and prints the result as one JSON object on the last
    line. Exits with status 1 and a message if a file or an option cannot be used.

    Args:
        name: Name of the command: the part after `python -m train.evaluate.`.
        measure: Computes the report.
        default_users: Default of --users.
        argv: Command-line arguments; None reads `sys.argv`.
        add_options: Adds the command's own options to the parser.
        description: Help text.
        min_seeds: Smallest allowed --seeds: 2 if intervals are computed over seeds.

    Returns:
        The result.
    """
    parser = argparse.ArgumentParser(prog=f"python -m train.evaluate.{name}", description=description)
    parser.add_argument("--checkpoint", default=POCKET, help="preference checkpoint, or 'pocket' for the bundled one")
    parser.add_argument("--users", type=int, default=default_users, help="users of each kind, over all seeds")
    parser.add_argument("--seed", type=int, default=0, help="first seed of users and posters")
    parser.add_argument("--seeds", type=int, default=3, help="number of consecutive seeds")
    parser.add_argument(
        "--posters", type=int, help="posters of each subject, even (default: every test combination once)"
    )
    parser.add_argument("--out", type=Path, default=OUT / name, help="output folder for result, table and figure")
    parser.add_argument("--document", type=Path, help="Markdown file in which this command's section is replaced")
    if add_options:
        add_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.seeds < min_seeds:
        parser.error(f"--seeds is {arguments.seeds}; expected at least {min_seeds}, because intervals are over seeds.")
    if arguments.users < 2 * arguments.seeds:
        parser.error(f"--users is {arguments.users}; expected at least two users a seed ({2 * arguments.seeds}).")
    if arguments.posters is not None and (arguments.posters < 4 or arguments.posters % 2):
        parser.error(f"--posters is {arguments.posters}; expected an even number of at least 4.")
    seeds = list(range(arguments.seed, arguments.seed + arguments.seeds))
    options = Options(
        checkpoint=arguments.checkpoint,
        users=arguments.users,
        seeds=seeds,
        posters=arguments.posters,
        out=arguments.out,
        document=arguments.document,
        arguments=arguments,
    )
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
    """Replace the section between `<!-- name -->` and `<!-- /name -->` of a Markdown text; append it if missing."""
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
