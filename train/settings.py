"""Reads the settings of a training run: a YAML file with `key=value` overrides, parsed into a frozen dataclass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from prefgen.errors import PrefGenError

CONFIGS = Path(__file__).parent / "configs"
Settings = TypeVar("Settings")


class SettingsError(PrefGenError):
    """Invalid settings: an unknown key, a wrong type or value, a missing value, or values that conflict."""


def read_settings(
    kind: type[Settings], folder: str, name: str, overrides: Sequence[str] = (), **chosen: Any
) -> Settings:
    """Read settings from a YAML file.

    A file can `inherit` another file in the same folder and override some of its values. Values are checked and
    converted by pydantic, section by section.

    Args:
        kind: Dataclass of the settings. Fields that are dataclasses are sections of the file.
        folder: Subfolder of `train/configs` that is searched if `name` is not a path.
        name: Path of a YAML file (with its suffix), or the name of a file in `folder`.
        overrides: `key=value` texts. Dots separate sections (`loop.steps=200`), and values are YAML.
        chosen: Values of top-level settings, which override the file. None keeps the value from the file.

    Raises:
        SettingsError: The file cannot be read, or the settings are invalid.
    """
    values = _read_yaml(Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / folder / f"{name}.yaml", folder)
    for override in overrides:
        values = _merge(values, _parse_override(override))
    values |= {key: value for key, value in chosen.items() if value is not None}
    try:
        # The dataclass is in a tuple, because pydantic accepts `config` only for types that cannot define their own.
        (settings,) = TypeAdapter(tuple[kind], config=ConfigDict(extra="forbid")).validate_python((values,))
    except ValidationError as error:
        raise SettingsError(_describe(kind, error)) from error
    return settings


def first_difference(theirs: Mapping, ours: Mapping) -> str | None:
    """Return the alphabetically first key whose values differ, or None if all values are equal."""
    return min((key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key)), default=None)


def settings_digest(values: Mapping) -> str:
    """Return 12 hex digits that identify JSON values, for folder names that depend on settings."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _read_yaml(path: Path, folder: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        names = ", ".join(sorted(file.stem for file in (CONFIGS / folder).glob("*.yaml")))
        raise SettingsError(f"{path} cannot be read ({error.strerror}). Pass a YAML file or one of {names}.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML ({error}).") from error
    parent = values.pop("inherit", None)
    return _merge(_read_yaml(path.with_name(f"{parent}.yaml"), folder), values) if parent else values


def _parse_override(override: str) -> dict[str, Any]:
    key, sign, text = override.partition("=")
    if not sign:
        raise SettingsError(f"The override is {override!r}; expected key=value, for example loop.steps=200.")
    value = yaml.safe_load(text)
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested settings. Values in `changes` take precedence."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _describe(kind: type, error: ValidationError) -> str:
    """Return one sentence per problem, with the key, its value and the expected value."""
    sentences = []
    for problem in error.errors():
        if "error" in problem.get("ctx", {}):  # raised by a dataclass of the settings
            sentences.append(str(problem["ctx"]["error"]))
            continue
        _, *sections, name = problem["loc"]
        prefix = "".join(f"{section}." for section in sections)
        if problem["type"] == "missing":
            sentences.append(f"{prefix}{name} is missing. Add it to the file, or pass {prefix}{name}=VALUE.")
        elif problem["type"] == "unexpected_keyword_argument":
            for section in sections:
                kind = get_type_hints(kind)[section]
            keys = ", ".join(f"{prefix}{field.name}" for field in fields(kind))
            sentences.append(f"{prefix}{name} is not a known key; expected one of {keys}.")
        else:
            expected = problem["msg"].replace("Input should be ", "expected ")
            sentences.append(f"{prefix}{name} is {problem['input']!r}; {expected}.")
    return " ".join(sentences)
