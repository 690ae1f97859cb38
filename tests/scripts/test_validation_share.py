"""Each kind of validation is counted, and nothing else, in synthetic files."""

import json
import subprocess
import sys
from textwrap import dedent

import pytest

from scripts.validation_share import ROOT, measure, read_sources, shares

COUNTED = {
    "guard": """
        def scale(value):
            if value < 0:  # guard
                shown = f"{value:g}"  # guard
                raise ValueError(  # guard
                    shown  # guard
                )  # guard
            elif value > 9:  # guard
                raise ValueError(value)  # guard
            else:
                value += 1
            return 2 * value
    """,
    "inverted guard": """
        def pick(kernel, value):
            if kernel == "rbf":
                return 2 * value
            raise ValueError(kernel)  # guard
    """,
    "else, case and assert": """
        def pick(kernel, value):
            assert value  # guard
            if value:
                value += 1
            else:
                raise ValueError(value)  # guard
            match kernel:
                case "rbf":
                    value += 2
                case _:  # guard
                    raise ValueError(kernel)  # guard
            return 2 * value
    """,
    "handler": """
        def read(path):
            try:
                text = path.read_text()
            except FileNotFoundError:
                text = ""
            except OSError as error:  # handler
                raise ValueError(path) from error  # handler
            return text
    """,
    "check function by name, and calls": """
        async def run(model, value):
            await _check_value(value)  # call
            model.require_part(
                "adapter"
            )
            with validate_later(value):
                return _check_value(value)

        @cache  # check function
        def _check_value(value):  # check function
            values.append(value)  # check function
            if value < 0:  # guard
                raise ValueError(value)  # guard
            return value  # check function

        def checkpoint(value):
            values.append(value)
            if value < 0:  # guard
                raise ValueError(value)  # guard
    """,
    "check function by content": """
        def run(value):
            positive(value)  # call
            return 2 * value

        def positive(value):  # check function
            for number in value:  # check function
                half = number / 2  # check function
                if half < 0:  # guard
                    raise ValueError(value)  # guard
            return value  # check function

        def halved(value):
            half = value / 2
            if half < 0:  # guard
                raise ValueError(value)  # guard
            return half
    """,
    "function that only raises": """
        def fail(text):  # check function
            raise ValueError(text)  # check function

        def run(value):
            if value < 0:  # guard
                fail("negative")  # guard
            value < 9 or fail("large")  # call
            return 2 * value
    """,
    "no validation": """
        class BadValue(ValueError):
            def __init__(self, value):
                super().__init__(f"{value} is bad.")

        class History:
            @property
            def pairs(self):
                raise BadValue(self)

        def find(values):
            for value in values:
                if value:
                    return value
            raise BadValue(values)
    """,
}


def expected_kinds(text):
    """Return what the comments say: the kind of validation by line."""
    lines = enumerate(text.splitlines(), 1)
    return {number: line.split("  # ")[1] for number, line in lines if "  # " in line}


@pytest.mark.parametrize("case", COUNTED)
def test_counts_each_kind_of_validation(case):
    text = dedent(COUNTED[case])
    assert measure({"prefgen/example.py": text})["prefgen/example.py"].validation == expected_kinds(text)


@pytest.mark.parametrize("path", ["prefgen/validation.py", "nodes/validation/numbers.py", "prefgen/given.py"])
def test_counts_every_function_of_a_validation_module_and_its_calls(path):
    helpers = dedent("""
        import math

        LARGEST = 9

        def is_finite(value):  # helper
            return math.isfinite(value)  # helper

        def readable(path):  # helper
            yield path  # helper
    """)
    caller = dedent("""
        def run(value):
            is_finite(value)  # call
            with readable(value):  # call
                return is_finite(value)
    """)
    measurements = measure({path: helpers, "prefgen/caller.py": caller})
    assert measurements[path].validation == expected_kinds(helpers)
    assert measurements["prefgen/caller.py"].validation == expected_kinds(caller)


def test_code_lines_hold_code():
    text = (
        '"""Module."""\n\n# comment\nSIZE = 1\n"""Attribute."""\n\n\ndef run():\n    """Run."""\n    return """\na"""\n'
    )
    assert measure({"prefgen/example.py": text})["prefgen/example.py"].code == {4, 8, 10, 11}


def test_schemas_do_not_count_in_nodes():
    text = dedent("""
        def strength_input():
            return io.Float.Input("strength")

        class Node:
            @classmethod
            def define_schema(cls):
                return io.Schema("Node", strength_input())

            def execute(cls, value):
                if not value:
                    raise ValueError(value)
                return value + 1
    """)
    measurements = measure({"nodes/example.py": text, "prefgen/example.py": text})
    assert {path: len(file.code) for path, file in measurements.items()} == {
        "nodes/example.py": 5,
        "prefgen/example.py": 10,
    }
    assert shares(measurements) == {"prefgen": 0.2, "nodes": 0.4}


def test_the_last_line_is_json():
    path = max(read_sources(), key=len)
    for arguments in ([], ["--list"], ["--list", path]):
        command = [sys.executable, "-m", "scripts.validation_share", *arguments]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        printed = json.loads(run.stdout.splitlines()[-1])
        assert list(printed) == ["prefgen", "nodes"]
        assert all(0 < share < 1 for share in printed.values())
