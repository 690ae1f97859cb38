"""Installs requirements into a virtual environment: with uv if possible (four times as fast), otherwise with pip.

uv does not read pip's configuration, so pip's index, extra indexes and wheel folders are passed on to it. pip is used
if the configuration has an unknown setting, or if uv fails.
"""

import ast
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

UV = "uv>=0.5"
# pip setting -> uv option. pip treats all indexes alike; uv does so with unsafe-best-match.
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


def install(python: Path, requirements: list[Path], log: Callable[[str], None]) -> None:
    """Install requirements files into the environment of `python`, one by one; later files override earlier ones.

    Raises:
        SystemExit: pip failed.
    """
    for path in requirements:
        start = time.monotonic()
        installer = "uv" if install_with_uv(python, path, log) else "pip"
        if installer == "pip":
            result = subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-cache-dir", "-r", str(path)])
            if result.returncode:
                raise SystemExit(f"pip could not install {path}; see its message above. Run the command again.")
        log(f"installed {path.name} with {installer} in {time.monotonic() - start:.0f} s")


def install_with_uv(python: Path, requirements: Path, log: Callable[[str], None]) -> bool:
    """Install with uv. Return False if uv is not available, does not support pip's configuration, or fails."""
    settings = pip_settings(python)
    options = uv_options(settings)
    if options is None:
        return False
    if subprocess.run([str(python), "-m", "pip", "install", "--quiet", UV], capture_output=True).returncode:
        return False
    command = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *options]
    command += ["-r", str(requirements)]
    result = subprocess.run(command, env=os.environ | uv_environment(settings), text=True, capture_output=True)
    if result.returncode:
        log(f"uv failed, continuing with pip: {result.stderr.strip()[-400:]}")
    return result.returncode == 0


def pip_settings(python: Path) -> dict[str, list[str]]:
    """Return pip's configuration from files and environment variables: name -> values."""
    listing = subprocess.run([str(python), "-m", "pip", "config", "list"], capture_output=True, text=True)
    return parse_settings(listing.stdout)


def parse_settings(listing: str) -> dict[str, list[str]]:
    """Parse `pip config list`: lines of section.name='value', with several values separated by whitespace.

    Later sections override earlier ones, in pip's order: global, install, environment variables.
    """
    ranks = {"global": 0, "install": 1, ":env:": 2}
    lines = [line.partition("=") for line in listing.splitlines() if "=" in line]
    settings = sorted(
        (ranks[section], name, ast.literal_eval(value))
        for (section, _, name), value in ((key.partition("."), value) for key, _, value in lines)
        if section in ranks
    )
    return {name: value.split() for _, name, value in settings}


def uv_options(settings: dict[str, list[str]]) -> list[str] | None:
    """Translate pip's settings to uv options, or return None if one has no counterpart."""
    if settings.keys() - OPTIONS.keys() - HARMLESS - {"cert", "proxy"}:
        return None
    options = [part for name, option in OPTIONS.items() for value in settings.get(name, []) for part in (option, value)]
    return ["--index-strategy", "unsafe-best-match", *options]


def uv_environment(settings: dict[str, list[str]]) -> dict[str, str]:
    """Translate pip's certificate and proxy settings to the environment variables that uv reads."""
    variables = {}
    if "cert" in settings:
        variables["SSL_CERT_FILE"] = settings["cert"][0]
    if "proxy" in settings:
        variables["ALL_PROXY"] = settings["proxy"][0]
    return variables
