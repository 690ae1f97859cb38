"""Images, people and sets on disk for offline work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prefgen.__main__ import main
from prefgen.cli import resumable_output
from prefgen.history import PAIRS_FILE
from prefgen.pocket.shapes import FOLDER
from prefgen.profile import Profiles, StoredImage

PEOPLE = FOLDER / "people"
PROMPT = "a sun"
OPTIONS = ["--users", str(PEOPLE), "--prompt", PROMPT, "--batch", "4", "--device", "cpu"]
"""Of `score`."""
BROKEN = ("broken.png", "deep/cut.png")


def write_images(folder: Path, count: int = 30) -> Path:
    """`count` files, two of which cannot be read, of two sizes and kinds, in two folders."""
    rng = np.random.default_rng(0)
    for i in range(count - len(BROKEN)):
        size = (96, 96) if i % 4 else (120, 150)
        path = folder / ("deep" if i % 3 == 0 else ".") / f"{i:02d}.{'jpg' if i % 5 == 0 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).resize(size[::-1]).save(path)
    (folder / BROKEN[0]).write_bytes(b"no picture")
    (folder / BROKEN[1]).write_bytes((folder / "01.png").read_bytes()[:300])
    (folder / "notes.txt").write_text("no image, and none that failed")
    return folder


def rows(path: Path) -> list[dict]:
    """An output's rows, of either kind."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def write_set(folder: Path) -> Path:
    """A set of users as train.data makes them: ada in two splits, bo in one."""
    lines = []
    for name, split, some in (("ada", "train", slice(0, 3)), ("bo", "test", slice(0, 8)), ("ada", "test", slice(3, 8))):
        shutil.copytree(PEOPLE / name, folder / "images" / name, dirs_exist_ok=True)
        pairs = json.loads((PEOPLE / name / PAIRS_FILE).read_text())["pairs"][some]
        pairs = [{k: f"images/{name}/{v}" if k != "prompt" else v for k, v in pair.items()} for pair in pairs]
        lines.append(json.dumps({"user": name, "seen": True, "split": split, "pairs": pairs}))
    (folder / "users.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_table(path: Path) -> Path:
    """The same two people as Parquet, a row a pair in small row groups: bytes, and structs of bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for place in range(8):
        for name in ("ada", "bo"):
            pair = json.loads((PEOPLE / name / PAIRS_FILE).read_text())["pairs"][place]
            liked, disliked = ((PEOPLE / name / pair[side]).read_bytes() for side in ("liked", "disliked"))
            disliked = {"bytes": disliked, "path": None}
            found.append({"user": name, "liked": liked, "disliked": disliked, "prompt": pair["prompt"]})
    pq.write_table(pa.Table.from_pylist(found), path, row_group_size=3)
    return path


def write_profile(root: Path, name: str, liked: Sequence[bool] = (True, False, True)) -> Path:
    """A profile of ComfyUI's with so many rated images; gives its folder."""
    profile = Profiles(root).profile(name)
    for i, thumb in enumerate(liked):
        data = BytesIO()
        Image.new("RGB", (32, 32), (90 * i, 40, 200)).save(data, "PNG")
        profile.rate(StoredImage.decode(data.getvalue(), f"{i}.png"), thumb, "a cat")
    return root / name


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A Parquet file of these rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def end_after_one(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """A run of the command line that ends once something is done, as a kill leaves it."""
    add = resumable_output.Writer.add

    def and_end(writer: resumable_output.Writer, done: object) -> None:
        add(writer, done)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(resumable_output.Writer, "add", and_end)
        assert main(list(map(str, arguments))) == 130
