"""Installs a lock into a virtual environment: with uv where it serves (four times as fast), else with plain pip.

uv does not read pip's configuration, so pip's index, extra indexes and folders of wheels are handed on to it. Anything
in that configuration that has no counterpart here, and any failure of uv, means pip.
"""

import ast
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

UV = "uv>=0.5"
# pip's setting -> uv's option; pip looks at all indexes alike, so uv is told to do the same (unsafe-best-match).
OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}
HARMLESS = {
    *("disable-pip-version-check", "no-cache-dir", "cache-dir", "progress-bar", "quiet", "verbose", "timeout"),
    *("default-timeout", "retries", "root-user-action", "no-input", "user", "break-system-packages", "no-color"),
    *("no-python-version-warning", "require-virtualenv", "log", "no-warn-script-location"),
}


def install(python: Path, requirements: list[Path], say: Callable[[str], None]) -> None:
    """Install requirements files into the environment of `python`, one after the other: a later one wins.

    Raises SystemExit where that fails.
    """
    for path in requirements:
        began = time.monotonic()
        how = "uv" if with_uv(python, path, say) else "pip"
        if how == "pip":
            ended = subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-cache-dir", "-r", str(path)])
            if ended.returncode:
                raise SystemExit(f"pip could not install {path}: its message is above. Run the command again.")
        say(f"installed {path.name} with {how} in {time.monotonic() - began:.0f} s")


def with_uv(python: Path, requirements: Path, say: Callable[[str], None]) -> bool:
    """Try uv; False where it cannot be had, cannot stand in for pip as configured, or fails."""
    settings = pip_settings(python)
    options = uv_options(settings)
    if options is None:
        return False
    if subprocess.run([str(python), "-m", "pip", "install", "--quiet", UV], capture_output=True).returncode:
        return False
    command = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *options]
    command += ["-r", str(requirements)]
    ended = subprocess.run(command, env=os.environ | uv_environment(settings), text=True, capture_output=True)
    if ended.returncode:
        say(f"uv gave up, going on with pip: {ended.stderr.strip()[-400:]}")
    return ended.returncode == 0


def pip_settings(python: Path) -> dict[str, list[str]]:
    """pip's configuration, files and environment variables together: name -> values."""
    shown = subprocess.run([str(python), "-m", "pip", "config", "list"], capture_output=True, text=True)
    return parse_settings(shown.stdout)


def parse_settings(listing: str) -> dict[str, list[str]]:
    """Read `pip config list`: lines of section.name='value', several values parted by white space.

    Sections come in pip's own order, a later one wins: global, install, environment variables.
    """
    ranks = {"global": 0, "install": 1, ":env:": 2}
    lines = [line.partition("=") for line in listing.splitlines() if "=" in line]
    found = sorted(
        (ranks[section], name, ast.literal_eval(value))
        for (section, _, name), value in ((key.partition("."), value) for key, _, value in lines)
        if section in ranks
    )
    return {name: value.split() for _, name, value in found}


def uv_options(settings: dict[str, list[str]]) -> list[str] | None:
    """uv's options for pip's settings, or None where one of them has no counterpart."""
    if settings.keys() - OPTIONS.keys() - HARMLESS - {"cert", "proxy"}:
        return None
    given = [part for name, option in OPTIONS.items() for value in settings.get(name, []) for part in (option, value)]
    return ["--index-strategy", "unsafe-best-match", *given]


def uv_environment(settings: dict[str, list[str]]) -> dict[str, str]:
    """Certificates and proxy, which uv takes from environment variables."""
    variables = {}
    if "cert" in settings:
        variables["SSL_CERT_FILE"] = settings["cert"][0]
    if "proxy" in settings:
        variables["ALL_PROXY"] = settings["proxy"][0]
    return variables
