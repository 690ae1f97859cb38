"""Names of the shipped workflows. ComfyUI's template browser shows a file's name as its title, so those files are named
in words, in the order of a path to follow. Scripts get names without spaces, in workflows/api."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
API = {
    "1 Rate pictures, see it learn": "rate_and_learn",
    "2 Paint for one person": "quickstart",
    "3 Compare with and without a taste": "compare_with_and_without",
    "4 Blend two tastes": "blend_two_people",
    "5 Sort pictures, best first": "score_and_sort",
    "6 Optimise the noise": "reno",
    "7 Paint your taste with SDXL": "personalise_sdxl",
    "8 Optimise the noise of SDXL-Turbo": "reno_sdxl_turbo",
}
"""Title -> name for scripts."""


def browser_path(name: str) -> Path:
    """The file for the browser, by the name for scripts."""
    return FOLDER / f"{next(title for title, given in API.items() if given == name)}.json"


def api_path(browser: Path) -> Path:
    """The file for scripts that is the same graph as a file for the browser."""
    return FOLDER / "api" / f"{API[browser.stem]}.json"
