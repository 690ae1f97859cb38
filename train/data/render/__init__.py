"""Renders a dataset of agents with ComfyUI: keeps users and choices, and passes captions to a workflow.

Images keep the names of the drawn dataset, so that its listing, agents and limits stay valid.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from train.data.agent_sets import AGENTS, LIMITS, load_agents
from train.data.posters import Attributes, caption
from train.data.render.server import RenderError, Server
from train.data.render.workflow import Places, Workflow
from train.data.user_sets import LISTING, new_set, read_rows, write_file, write_json

HOW = "render.json"
CAPTION = "{caption}"
SEEDS = 2**32  # range that every seed input accepts


@dataclass(frozen=True)
class RenderConfig:
    """Settings of the rendering.

    Attributes:
        words: Prompt template with {caption}.
        size: (width, height) in pixels, or None for the size of the workflow.
        seed: Random seed of all images.
        ahead: Number of prompts in the server's queue, so that it never waits.
    """

    words: str = CAPTION
    size: tuple[int, int] | None = None
    seed: int = 0
    ahead: int = 3

    def __post_init__(self) -> None:
        if CAPTION not in self.words:
            raise RenderError(f"--words is {self.words!r}; expected a text with {CAPTION}.")
        if self.ahead < 1:
            raise RenderError(f"--ahead is {self.ahead}; expected at least 1.")


@dataclass(frozen=True)
class Job:
    """An image to render: its file in the dataset, its prompt and its seed."""

    file: str
    prompt: str
    seed: int


def render_set(
    source: Path,
    out: Path,
    server: Server,
    workflow: Workflow,
    config: RenderConfig,
    progress: Callable[[Iterable[Job]], Iterable[Job]] = lambda jobs: jobs,
) -> int:
    """Render all images of a dataset, and return how many this run rendered.

    An interrupted run resumes, and existing images are not rendered again.

    Args:
        source: Dataset of train.data.agent_sets.
        out: Folder to create.
        server: A running ComfyUI.
        workflow: Workflow that renders an image.
        config: Settings of the rendering.
        progress: Wraps the iteration over images.

    Raises:
        RenderError: The server or the workflow fails, or an interrupted run had other settings.
        SetError: A dataset is invalid.
    """
    jobs = list(all_jobs(source, config))
    with new_set(out, resume=True) as folder:
        remaining = [job for job in jobs if not (folder / job.file).exists()]
        settings = {"workflow": workflow.digest, "source": _digest(source), **asdict(config)}
        _claim(folder, settings, begun=len(remaining) < len(jobs))
        for job, content in _rendered(server, workflow, config, progress(remaining)):
            write_file(folder / job.file, _as_webp(content, job.file))
        for name in (LISTING, AGENTS, LIMITS):
            shutil.copyfile(source / name, folder / name)
    return len(remaining)


def all_jobs(source: Path, config: RenderConfig) -> Iterator[Job]:
    """Yield every image of a dataset with a caption of its attributes."""
    _, parts = load_agents(source)
    posters = {(name, part.split): rows for part in parts for name, rows in zip(part.names, part.pairs, strict=True)}
    for user in read_rows(source):
        for pair, rows in zip(user.pairs, posters[user.user, user.split], strict=True):
            for file, indices in zip((pair.liked, pair.disliked), rows, strict=True):
                words = config.words.replace(CAPTION, caption(Attributes.from_indices(indices)))
                digest = hashlib.sha256(f"{config.seed}:{file}".encode()).digest()
                yield Job(file, words, int.from_bytes(digest[:8]) % SEEDS)


def _rendered(
    server: Server, workflow: Workflow, config: RenderConfig, jobs: Iterable[Job]
) -> Iterator[tuple[Job, bytes]]:
    """Yield images in the order of the jobs. Later jobs are queued meanwhile, and removed if one fails."""
    queued: deque[tuple[Job, str]] = deque()
    try:
        for job in jobs:
            queued.append((job, server.post(workflow.filled(job.prompt, job.seed, config.size))))
            if len(queued) >= config.ahead:
                yield _fetched(server, workflow, *queued[0])
                queued.popleft()
        while queued:
            yield _fetched(server, workflow, *queued[0])
            queued.popleft()
    finally:
        if queued:
            server.forget([prompt for _, prompt in queued])


def _fetched(server: Server, workflow: Workflow, job: Job, prompt: str) -> tuple[Job, bytes]:
    images = server.wait(prompt).get(workflow.image, {}).get("images", [])
    if not images:
        raise RenderError(
            f"Node {workflow.named(workflow.image)} returned no image for {job.prompt!r}. Correct --image-node."
        )
    return job, server.fetch({key: images[0][key] for key in ("filename", "subfolder", "type")})


def _as_webp(content: bytes, file: str) -> bytes:
    """Convert to WebP without metadata. A PNG from ComfyUI contains the workflow."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise RenderError(
            f"The image for {file} cannot be read ({error}). Use a node that saves still images."
        ) from error
    lossless = io.BytesIO()
    pixels.save(lossless, "WEBP", lossless=True, method=2)
    return lossless.getvalue()


def _digest(source: Path) -> str:
    return hashlib.sha256(b"".join((Path(source) / name).read_bytes() for name in (LISTING, AGENTS))).hexdigest()


def _claim(folder: Path, settings: dict, begun: bool) -> None:
    """Write the settings into the folder.

    Raises:
        RenderError: Existing images were rendered with other settings.
    """
    file = folder / HOW
    settings = json.loads(json.dumps({name: value for name, value in settings.items() if name != "ahead"}))
    before = json.loads(file.read_text()) if begun else settings
    changed = sorted(name for name in settings if before.get(name) != settings[name])
    if changed:
        raise RenderError(
            f"{folder} was started with another {', '.join(changed)}. Use those settings, or remove the folder."
        )
    write_json(file, settings)


__all__ = ["Places", "RenderConfig", "RenderError", "Server", "Workflow", "render_set"]
