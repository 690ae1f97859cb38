"""`python -m prefgen`: convert and inspect preference checkpoints, score images and encode users without ComfyUI."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from .cli.convert import add_convert
from .cli.encode import add_encode
from .cli.inspect import add_inspect
from .cli.score import add_score
from .errors import PrefGenError, error_message

EPILOG = "python -m prefgen COMMAND --help explains a command; docs/command-line.md has examples."


class _Parser(argparse.ArgumentParser):
    """Mentions --help when arguments are wrong."""

    def error(self, message: str) -> None:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\nRun {self.prog} --help for an explanation.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 if something cannot be used, 2 for wrong arguments, 130 after an interrupt.
    """
    parser = _Parser(prog="python -m prefgen", description=__doc__.split(": ", 1)[1], epilog=EPILOG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for add_command in (add_convert, add_inspect, add_score, add_encode):
        add_command(commands)
    options = parser.parse_args(argv)
    if not hasattr(options, "run"):
        parser.print_help(sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        output = options.run(options)
        sys.stdout.write(f"{output}\n" if output else "")
    except (PrefGenError, OSError) as error:
        sys.stderr.write(f"prefgen: {error_message(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("prefgen: interrupted. Run the same command again to resume score or encode.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
