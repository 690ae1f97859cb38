"""`python -m prefgen`: convert and inspect preference checkpoints, score images and encode people without ComfyUI."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from .cli.command import add_encode, add_score
from .cli.convert import add_convert, add_inspect
from .errors import PrefGenError, error_message

EPILOG = "python -m prefgen COMMAND --help explains a command; docs/command-line.md has examples."


class _Parser(argparse.ArgumentParser):
    """Says where help is whenever arguments are wrong."""

    def error(self, message: str) -> None:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n{self.prog} --help explains everything.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 for something that cannot be used, 2 for wrong arguments, 130
    where it was stopped."""
    parser = _Parser(prog="python -m prefgen", description=__doc__.split(": ", 1)[1], epilog=EPILOG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for add in (add_convert, add_inspect, add_score, add_encode):
        add(commands)
    given = parser.parse_args(argv)
    if not hasattr(given, "run"):
        parser.print_help(sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        said = given.run(given)
        sys.stdout.write(f"{said}\n" if said else "")
    except (PrefGenError, OSError) as error:
        sys.stderr.write(f"prefgen: {error_message(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("prefgen: stopped; score and encode go on when the same command is given again.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
