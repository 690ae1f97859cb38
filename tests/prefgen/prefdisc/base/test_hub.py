"""Bases in the Hugging Face cache: found without a network, and downloaded where that is allowed."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from prefgen.prefdisc.base.locate import locate_base
from tests.comfyui.server import PACK
from tests.prefgen.prefdisc.base.hub import COMMIT, serving, write_cache
from tests.prefgen.prefdisc.base.test_locate import ID, write_folder, write_lora

# The library reads where its cache and its Hub are when it is imported: so, a process of its own.
LOAD = """
import json, sys
from prefgen.errors import CheckpointError
from prefgen.checkpoint.preference_model import load_preference_model
told = []
download = (lambda *done: told.append(done)) if sys.argv[2] == "allowed" else None
try:
    model = load_preference_model(sys.argv[1], download_progress=download)
    print(json.dumps({"layers": len(model.prefdisc.base.model.text_model.layers), "told": told}))
except CheckpointError as error:
    print(json.dumps({"error": str(error)}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("hub") / "tiny", shard="60KB")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    write_lora(path, revision="")
    return path


def load(checkpoint, home, allowed=False, **environment):
    ran = subprocess.run(
        [sys.executable, "-c", LOAD, str(checkpoint), "allowed" if allowed else "forbidden"],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment},
        cwd=PACK,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_base_in_the_cache_is_found(tmp_path, monkeypatch, folder):
    from huggingface_hub import constants

    write_cache(tmp_path, ID, folder)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    place = locate_base(ID, [])
    assert place.path == tmp_path / "models--someone--tiny-idefics2" / "snapshots" / COMMIT
    assert locate_base(ID, [], revision=COMMIT) == place
    assert locate_base(ID, [], revision="1" * 40) is None, "another commit will not do"
    for wanted in ("someone/other", "../someone/tiny-idefics2", "tiny-idefics2", ""):
        assert locate_base(wanted, []) is None


def test_a_download_is_made_only_where_allowed_and_then_kept(tmp_path, folder, checkpoint):
    with serving(ID, folder) as (address, asked):
        refused = load(checkpoint, tmp_path, HF_ENDPOINT=address)
        assert "which is not on this machine" in refused["error"]
        assert "Allow its download" in refused["error"]
        assert not asked, "no network without a word"
        made = load(checkpoint, tmp_path, allowed=True, HF_ENDPOINT=address)
        assert made["layers"] == 4
        assert not [path for path in asked if "README" in path]
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        done, total = made["told"][-1]
        assert done == total >= size
    again = load(checkpoint, tmp_path, HF_HUB_OFFLINE="1")
    assert again["layers"] == 4


@pytest.mark.parametrize("kept", ["all but a shard", "no shard", "no config"])
def test_a_download_that_was_stopped_goes_on_where_allowed(tmp_path, folder, checkpoint, kept):
    some = tmp_path / "some"
    shutil.copytree(folder, some)
    shards = sorted(some.glob("model-*.safetensors"))
    gone = {"all but a shard": shards[1:2], "no shard": shards, "no config": [some / "config.json"]}[kept]
    for file in gone:
        file.unlink()
    write_cache(tmp_path / "home" / "hub", ID, some)
    with serving(ID, folder) as (address, asked):
        refused = load(checkpoint, tmp_path / "home", HF_ENDPOINT=address)
        assert f"copy in the Hugging Face cache lacks {len(gone)} files ({gone[0].name})" in refused["error"]
        assert "Allow its download" in refused["error"]
        assert not asked, "no network without a word"
        assert load(checkpoint, tmp_path / "home", allowed=True, HF_ENDPOINT=address)["layers"] == 4
        fetched = {path.rsplit("/", 1)[1] for path in asked if "/resolve/" in path}
        assert {file.name for file in gone} <= fetched
        assert not fetched & {file.name for file in some.glob("model-*")}, "what is there is not fetched again"


def test_a_download_that_fails_says_so(tmp_path, checkpoint):
    failed = load(checkpoint, tmp_path, allowed=True, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_ETAG_TIMEOUT="2")
    assert failed["error"].startswith(f"{ID} could not be downloaded (")
    assert "put the base model into models/prefgen/base/" in failed["error"]
