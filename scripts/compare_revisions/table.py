"""Compares the outputs of two revisions and prints the table."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from .outputs import ERROR, Outputs, same

LISTED_DIFFERENCES = 4
"""Maximum number of differences to print for one case."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of a case: number of compared outputs, and differences."""

    name: str
    compared: str
    differences: list[str]

    @property
    def identical(self) -> bool:
        return not self.differences


def compare(name: str, before: Outputs, after: Outputs) -> Comparison:
    """Compare the outputs of one case. A case that fails, or has no output, is not identical."""
    differences = [
        f"{side} failed: {' '.join(outputs[ERROR].split())[:400]}"
        for side, outputs in (("before", before), ("after", after))
        if ERROR in outputs
    ]
    if not differences and not before:
        differences.append("no output")
    if not differences:
        differences += [f"only before: {key}" for key in before.keys() - after.keys()]
        differences += [f"only after: {key}" for key in after.keys() - before.keys()]
        for key in before.keys() & after.keys():
            if not same(before[key], after[key]):
                differences.append(f"{key}: {describe(before[key], after[key])}")
    return Comparison(name, count(before), sorted(differences))


def describe(before: np.ndarray | str, after: np.ndarray | str) -> str:
    """Describe how two outputs differ."""
    if isinstance(before, str) or isinstance(after, str):
        return f"{str(before)[:80]} -> {str(after)[:80]}"
    if before.shape != after.shape or before.dtype != after.dtype:
        return f"{before.dtype}{before.shape} -> {after.dtype}{after.shape}"
    return f"differs by up to {np.abs(before.astype(float) - after.astype(float)).max():.3g}"


def count(outputs: Outputs) -> str:
    """Count the outputs of each kind, for example "2 images, 1 tensor, 3 values"."""
    kinds = Counter(kind(value) for name, value in outputs.items() if name != ERROR)
    counted = ((number, singular) for singular in ("image", "tensor", "value") if (number := kinds[singular]))
    return ", ".join(f"{number} {singular}{'s' * (number > 1)}" for number, singular in counted)


def kind(value: np.ndarray | str) -> str:
    if isinstance(value, str):
        return "value"
    return "image" if value.dtype == np.uint8 else "tensor"


def print_table(comparisons: list[Comparison]) -> None:
    """Print one line per case, with the case's differences below it."""
    header = ("case", "compared", "identical")
    width = max(len(header[0]), *(len(comparison.name) for comparison in comparisons), 0)
    middle = max(len(header[1]), *(len(comparison.compared) for comparison in comparisons), 0)
    print(f"{header[0]:<{width}}  {header[1]:<{middle}}  {header[2]}")
    for comparison in comparisons:
        answer = "yes" if comparison.identical else "NO"
        print(f"{comparison.name:<{width}}  {comparison.compared:<{middle}}  {answer}")
        for difference in comparison.differences[:LISTED_DIFFERENCES]:
            print(f"    {difference}")
        if len(comparison.differences) > LISTED_DIFFERENCES:
            print(f"    and {len(comparison.differences) - LISTED_DIFFERENCES} more")
    print()
