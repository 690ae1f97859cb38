"""Measures how much of the code validates instead of computing.

    python -m scripts.validation_share                 shares of prefgen/ and nodes/ in the working tree
    python -m scripts.validation_share --rev 9195e5e   the same for a git revision
    python -m scripts.validation_share --list          also lists the files with the most validation
    python -m scripts.validation_share --list FILE     also lists the lines counted in one file, with the reasons

The last line printed is JSON: {"prefgen": share, "nodes": share}. A share is validation lines / code lines.

Code lines contain at least one token of code. Blank lines, comments, docstrings and attribute docstrings do not count.
In `nodes`, schemas do not count either: `define_schema`, and functions that create inputs (`io.Float.Input(...)`).

Validation lines are the code lines of:

- guard: an `if` or `elif` branch that ends in `raise`, from the test to the message, with the statements that prepare
  the message. `else` and `case` branches that end in `raise`, `assert`, and the `raise` of an inverted guard (`if good:
  return ...`, then `raise`) count, too. A call to a function that only raises an error is treated as `raise`.
- handler: an `except` branch that ends in `raise`. The body of its `try` does the work and does not count.
- check function: all lines of a function whose last statement, before a `return` of nothing or of a name, validates (a
  guard, a `try` whose handlers all raise, a call to a check function, or a loop or branch with one of these), if
    - its name starts with check, require, validate, verify, ensure or refuse (after underscores), or
    - it contains only guards, calls to check functions, assignments to variables, early bare returns, and loops and
      branches with these, and it returns nothing or one of its arguments.
  Special methods and properties are not check functions; their guards and calls count.
- helper: every function in a validation module: `validation.py`, a package `validation`, and their predecessors
  `checked.py`, `given.py` and `finite.py`. Imports and constants in these modules do not count.
- call: a statement that only calls a check function or a helper, and the call in `with helper(...):`. Functions are
  matched by the last part of their name, so a helper must not have the name of an ordinary method.

Not counted: exception classes, any other `raise` (a search that found nothing, an operation that a class does not
support), predicates outside of validation modules, and calls whose result is used.

For commit 9195e5e this gives .168 for prefgen and .110 for nodes; the review of that commit counted .164 and .110.
"""

import argparse
import ast
import io
import json
import re
import subprocess
import tarfile
import tokenize
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("prefgen", "nodes")
VALIDATION_MODULES = {"validation", "checked", "given", "finite"}
CHECK_NAME = re.compile(r"_*(check|require|validate|verify|ensure|refuse)(_|$)")
LISTED_FILES = 40
LAYOUT = {*(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE), *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Loop = ast.For | ast.AsyncFor | ast.While


class Measurement(NamedTuple):
    """The code lines of a file, and the kind of validation for each line that validates."""

    code: set[int]
    validation: dict[int, str]


def measure(sources: dict[str, str]) -> dict[str, Measurement]:
    """Measure files together, so that calls to check functions in other files are found.

    Args:
        sources: The text of each Python file, by its path relative to the root of the repository.
    """
    trees = {path: ast.parse(text, path) for path, text in sources.items()}
    validation_modules = {path for path in trees if VALIDATION_MODULES & {*PurePosixPath(path).with_suffix("").parts}}
    helpers = {path: _functions(tree) if path in validation_modules else [] for path, tree in trees.items()}
    finder = _Finder({function.name for functions in helpers.values() for function in functions})
    checks = finder.find_checks(trees)
    measurements = {}
    for path, tree in trees.items():
        code = _code_lines(sources[path], tree)
        if path.startswith("nodes/"):
            code -= _schema_lines(tree)
        validation: dict[int, str] = {}
        found = list(finder.guards_and_calls(tree))
        found += [("check function", _lines(function)) for function in checks[path]]
        found += [("helper", _lines(function)) for function in helpers[path]]
        for kind, lines in found:
            for line in code.intersection(lines):
                validation.setdefault(line, kind)
        measurements[path] = Measurement(code, validation)
    return measurements


def shares(measurements: dict[str, Measurement]) -> dict[str, float]:
    """Return the share of validation in the code lines of each package."""
    return {package: round(_share(_files(package, measurements).values()), 4) for package in PACKAGES}


class _Finder:
    """Finds validation in syntax trees.

    Attributes:
        names: Names of check functions and helpers, whose calls count.
        raisers: Names of functions that only raise an error.
    """

    def __init__(self, helper_names: set[str]) -> None:
        self.names = {name for name in helper_names if not name.startswith("__")}
        self.raisers: set[str] = set()

    def find_checks(self, trees: dict[str, ast.Module]) -> dict[str, set[Function]]:
        """Return the check functions of each file, and store their names."""
        checks: dict[str, set[Function]] = {path: set() for path in trees}
        functions = [(path, function) for path, tree in trees.items() for function in _functions(tree)]
        while True:  # a function that only calls check functions is a check function, too
            new = [entry for entry in functions if entry[1] not in checks[entry[0]] and self._is_check(entry[1])]
            if not new:
                return checks
            for path, function in new:
                checks[path].add(function)
                self.names.add(function.name)
                if self._raises(function.body) and not any(isinstance(one, ast.If) for one in function.body):
                    self.raisers.add(function.name)

    def guards_and_calls(self, tree: ast.Module) -> Iterator[tuple[str, range]]:
        """Yield the kind and the lines of each guard, handler and call, calls last."""
        calls = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Lambda | ast.IfExp):  # their bodies are expressions
                continue
            body, orelse = getattr(node, "body", []), getattr(node, "orelse", [])
            if isinstance(node, ast.If | ast.match_case) and self._raises(body):
                start = node.lineno if isinstance(node, ast.If) else node.pattern.lineno
                yield "guard", range(start, _lines(body[-1]).stop)
            if isinstance(node, ast.If) and self._raises(orelse):
                yield "guard", range(orelse[0].lineno, _lines(orelse[-1]).stop)
            if isinstance(node, ast.Assert):
                yield "guard", _lines(node)
            if isinstance(node, ast.ExceptHandler) and self._raises(body):
                yield "handler", _lines(node)
            for block in (body, orelse):
                if len(block) > 1 and self._raises(block) and _leaves(block[-2]):
                    yield "guard", _lines(block[-1])
            if self._is_call(node):
                calls.append(_lines(node))
            if isinstance(node, ast.With | ast.AsyncWith):
                calls += [_lines(item.context_expr) for item in node.items if _called(item.context_expr) in self.names]
        yield from (("call", lines) for lines in calls)

    def _is_check(self, function: Function) -> bool:
        body = [statement for statement in function.body if not _is_string(statement)]
        returned = None
        if body and isinstance(body[-1], ast.Return) and isinstance(body[-1].value, ast.Name | None):
            returned = body.pop().value
        is_property = any(getattr(decorator, "id", "") == "property" for decorator in function.decorator_list)
        if is_property or function.name.startswith("__") or not body or not self._validates(body[-1]):
            return False
        if CHECK_NAME.match(function.name):
            return True
        arguments = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
        return (returned is None or returned.id in arguments) and all(map(self._only_validates, body))

    def _validates(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.If):
            return self._raises(statement.body) or any(map(self._validates, statement.body + statement.orelse))
        if isinstance(statement, ast.Try):
            return bool(statement.handlers) and all(self._raises(handler.body) for handler in statement.handlers)
        if isinstance(statement, Loop):
            return any(map(self._validates, statement.body))
        return isinstance(statement, ast.Raise | ast.Assert) or self._is_call(statement)

    def _only_validates(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.If | Loop):
            return all(map(self._only_validates, statement.body + statement.orelse))
        if isinstance(statement, ast.Return):
            return statement.value is None
        if isinstance(statement, ast.Assign):
            return all(isinstance(target, ast.Name | ast.Tuple) for target in statement.targets)
        return isinstance(statement, ast.Raise | ast.Assert | ast.Continue) or self._is_call(statement)

    def _raises(self, block: list[ast.stmt]) -> bool:
        """Return whether a block ends in `raise`, or in a call to a function that only raises an error."""
        last = block[-1] if block else None
        return isinstance(last, ast.Raise) or (isinstance(last, ast.Expr) and _called(last.value) in self.raisers)

    def _is_call(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Expr) and _called(node.value) in self.names


def _called(node: ast.expr) -> str | None:
    """Return the last name of the function that an expression calls; `good or fail()` calls `fail`."""
    if isinstance(node, ast.BoolOp):
        node = node.values[-1]
    if isinstance(node, ast.Await):
        node = node.value
    return getattr(node.func, "id", getattr(node.func, "attr", None)) if isinstance(node, ast.Call) else None


def _leaves(statement: ast.stmt) -> bool:
    """Return whether a statement is an `if` that leaves its block, so that the code after it acts as its `else`."""
    return isinstance(statement, ast.If) and isinstance(statement.body[-1], ast.Return | ast.Continue | ast.Break)


def _functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _lines(node: ast.AST) -> range:
    """Return the lines of a node, decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return range(first, node.end_lineno + 1)


def _code_lines(text: str, tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines.difference(*(_lines(node) for node in ast.walk(tree) if _is_string(node)))


def _schema_lines(tree: ast.Module) -> set[int]:
    def creates_input(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Input"

    functions = _functions(tree)
    schemas = [one for one in functions if one.name == "define_schema" or any(map(creates_input, ast.walk(one)))]
    return set().union(*map(_lines, schemas))


def _files(package: str, measurements: dict[str, Measurement]) -> dict[str, Measurement]:
    return {path: file for path, file in measurements.items() if path.split("/")[0] == package}


def _share(files: Collection[Measurement]) -> float:
    return sum(len(file.validation) for file in files) / max(sum(len(file.code) for file in files), 1)


def read_sources(revision: str | None = None) -> dict[str, str]:
    """Read the Python files of both packages from the working tree, or from a git revision."""
    if revision is None:
        files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
        return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}
    command = ["git", "archive", "--format=tar", revision, *PACKAGES]
    archive = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {name: tar.extractfile(name).read().decode() for name in tar.getnames() if name.endswith(".py")}


def list_files(measurements: dict[str, Measurement]) -> Iterator[str]:
    """Yield the lines of a table of the files with the most validation, for each package."""
    for package in PACKAGES:
        files = _files(package, measurements)
        code = sum(len(file.code) for file in files.values())
        kinds = Counter(kind for file in files.values() for kind in file.validation.values())
        yield f"{package + '/':40} {'validation':>10} {'code':>6} {'share':>6}"
        largest = sorted(files, key=lambda path: -len(files[path].validation))[:LISTED_FILES]
        for path in largest:
            validation = len(files[path].validation)
            yield f"{path:40} {validation:10} {len(files[path].code):6} {_share([files[path]]):6.3f}"
        yield f"{f'{len(files)} files':40} {kinds.total():10} {code:6} {_share(files.values()):6.3f}"
        yield ", ".join(f"{kind} {lines}" for kind, lines in kinds.most_common()) + "\n"


def list_ranges(path: str, text: str, file: Measurement) -> Iterator[str]:
    """Yield the ranges of lines that count as validation in one file, with their kind and first line."""
    source = text.splitlines()
    numbered = enumerate(sorted(file.validation.items()))
    for (kind, _), group in groupby(numbered, key=lambda entry: (entry[1][1], entry[1][0] - entry[0])):
        lines = [line for _, (line, _) in group]
        yield f"{path}:{lines[0]}-{lines[-1]}  {kind}: {source[lines[0] - 1].strip()[:80]}"
    yield f"{len(file.validation)} of {len(file.code)} code lines"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.validation_share", description=__doc__.splitlines()[0])
    parser.add_argument("--rev", help="git revision to measure instead of the working tree")
    listing = "list the files with the most validation, or the lines counted in one file"
    parser.add_argument("--list", nargs="?", const="", metavar="FILE", help=listing)
    options = parser.parse_args(arguments)
    sources = read_sources(options.rev)
    measurements = measure(sources)
    if options.list:
        if options.list not in sources:
            parser.error(f"--list is {options.list}; expected a file of the packages, such as prefgen/history.py.")
        print(*list_ranges(options.list, sources[options.list], measurements[options.list]), sep="\n")
    elif options.list is not None:
        print(*list_files(measurements), sep="\n")
    print(json.dumps(shares(measurements)))


if __name__ == "__main__":
    main()
