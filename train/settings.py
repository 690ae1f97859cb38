"""A run's settings: one YAML file into a frozen dataclass, with `key=value` overrides from the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from prefgen.errors import PrefGenError

CONFIGS = Path(__file__).parent / "configs"
Settings = TypeVar("Settings")


class SettingsError(PrefGenError):
    """Settings that cannot be run: an unknown key, a value of the wrong type or out of range, something missing, or
    values that do not go together."""


def first_difference(theirs: Mapping, ours: Mapping) -> str | None:
    """The first key, by name, at which two tables of settings are not the same; None where they are."""
    return min((key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key)), default=None)


def key_of(told: Mapping) -> str:
    """A folder's name for all that what lies in it depends on, as JSON values."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def read_settings(
    kind: type[Settings], folder: str, name: str, overrides: Sequence[str] = (), **chosen: Any
) -> Settings:
    """Settings of a kind out of a YAML file, named by path or by its name in train/configs/<folder>.

    A file may `inherit` another beside it and change some of it. overrides: `key=value`, with dots for parts and values
    as YAML. chosen: further top-level values; None leaves the file's. Raises SettingsError.
    """
    values = _read(Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / folder / f"{name}.yaml", folder)
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise SettingsError(f"found {override!r}, expected key=value, with dots for parts: loop.steps=200.")
        *parts, last = key.split(".")
        place = values
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = yaml.safe_load(text)
    return _build(kind, values | {key: value for key, value in chosen.items() if value is not None})


def one_of(what: str, value: object, known: Sequence[object]) -> None:
    """Raise SettingsError unless `value` is one of `known`."""
    if value not in known:
        raise SettingsError(f"{what} is {value!r}, expected one of {', '.join(map(str, known))}.")


def _read(path: Path, folder: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in (CONFIGS / folder).glob("*.yaml")))
        raise SettingsError(f"{path} could not be read ({error.strerror}): give a file, or one of {known}.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML ({error}): correct the file.") from error
    parent = values.pop("inherit", None)
    return _merged(_read(path.with_name(f"{parent}.yaml"), folder), values) if parent else values


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _build(kind: type, values: Mapping[str, Any], where: str = "") -> Any:
    known, hints = {field.name: field for field in fields(kind)}, get_type_hints(kind)
    for key in values:
        one_of("a key of the settings", f"{where}{key}", [f"{where}{name}" for name in known])
    needed = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing = [f"{where}{name}" for name in needed if values.get(name) is None]
    if missing:
        raise SettingsError(f"The configuration lacks {', '.join(missing)}: add it to the file, or give key=value.")
    return kind(**{key: _value(hints[key], value, f"{where}{key}") for key, value in values.items()})


def _value(wanted: Any, value: Any, key: str) -> Any:
    if is_dataclass(wanted):
        return _build(wanted, value, f"{key}.")
    if wanted is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-5, without a point, as text
        except ValueError as error:
            raise SettingsError(f"{key} is {value!r}, expected a number.") from error
    if wanted in (int, bool, str) and type(value) is not wanted:
        raise SettingsError(f"{key} is {value!r}, expected a value of type {wanted.__name__}.")
    return tuple(value) if isinstance(value, list) else value
