"""The scripts in docs/ run, quoted messages exist in the code, and links lead somewhere."""

import ast
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tests.comfyui.server import PACK

pytestmark = pytest.mark.server

README, DOCS = (
    PACK / "README.md",
    [
        *sorted((PACK / "docs").glob("*.md")),
        *sorted((PACK / "docs" / "examples").glob("*.md")),
        PACK / "CONTRIBUTING.md",
    ],
)
PUBLISHED = "http://127.0.0.1:8188"


def blocks(page, kind):
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    """A folder in which the pack's workflows lie, and what scripts write does no harm."""
    (tmp_path / "workflows").symlink_to(PACK / "workflows", target_is_directory=True)
    return tmp_path


def done(command, folder):
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("sh")), reason="no curl")
def test_the_curl_script_runs(server, folder):
    (script,) = blocks(PACK / "docs" / "headless.md", "sh")
    done(["sh", "-c", "set -e\n" + script.replace(PUBLISHED, server.url)], folder)
    with Image.open(folder / "lighthouse.png") as picture:
        assert picture.size == (576, 576)
    assert '"scores"' in (folder / "done.json").read_text()


def test_the_python_script_runs(server, folder):
    (script,) = blocks(PACK / "docs" / "headless.md", "python")
    told = done([sys.executable, "-c", script.replace(PUBLISHED, server.url)], folder).split()
    assert told[::2] == ["ada.png", "bo.png"]
    assert all(0 <= float(score) <= 1 for score in told[1::2])
    ada, bo = (Image.open(folder / name).tobytes() for name in told[::2])
    assert ada != bo


def said() -> list[str]:
    """Every text in the code that people may be shown, with an ellipsis for what is filled in."""
    texts = []
    for path in [*(PACK / "nodes").rglob("*.py"), *(PACK / "prefgen").rglob("*.py")]:
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(part, ast.JoinedStr):
                texts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in part.values))
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                texts.append(part.value)
    return texts


def test_quoted_messages_are_those_of_the_code():
    text = (PACK / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^> (.+)$", text, re.MULTILINE)
    assert len(quoted) >= 15
    known = set(said())
    assert [message for message in quoted if message not in known] == []


def anchors(page):
    """What a page's headings are linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_the_readme_names_every_workflow():
    text = README.read_text(encoding="utf-8")
    assert not [path.stem for path in (PACK / "workflows").glob("*.json") if path.stem not in text]


def test_the_readme_names_every_node(comfy):
    ours = {info["display_name"] for info in comfy.object_info().values() if info["python_module"].endswith(".prefgen")}
    text = README.read_text(encoding="utf-8")
    assert not [name for name in ours if name not in text]
