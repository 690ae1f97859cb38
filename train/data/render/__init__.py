"""A set of agents painted by any ComfyUI: the same users and choices, each poster's words given to a workflow.

Images take the names they have in the drawn set, so that its listing, its agents and its limits hold as they are.
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
SEEDS = 2**32  # every seed input takes these


@dataclass(frozen=True)
class RenderConfig:
    """words: the prompt, with {caption} where a poster's own words go. size: (width, height) in pixels, or None for the
    workflow's own. seed: with another, every image is another. ahead: prompts in the server's queue at once, so that it
    never waits for us.
    """

    words: str = CAPTION
    size: tuple[int, int] | None = None
    seed: int = 0
    ahead: int = 3

    def __post_init__(self) -> None:
        if CAPTION not in self.words:
            raise RenderError(f"the words {self.words!r} have no {CAPTION}: every image would show the same.")
        if self.ahead < 1:
            raise RenderError(f"{self.ahead} prompts ahead were asked for, expected at least 1: correct --ahead.")


@dataclass(frozen=True)
class Job:
    """One image to be rendered: its file in the set, its prompt, its seed."""

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
    """Render every image of `source` into the set `out`; returns how many this run rendered.

    A run that was interrupted goes on: images that are there are not rendered again. Raises RenderError for the
    server's and the workflow's faults and where the run before had other settings, SetError for the sets'.
    """
    jobs = list(all_jobs(source, config))
    with new_set(out, resume=True) as folder:
        left = [job for job in jobs if not (folder / job.file).exists()]
        settings = {"workflow": workflow.digest, "source": _digest(source), **asdict(config)}
        _claim(folder, settings, begun=len(left) < len(jobs))
        for job, content in _painted(server, workflow, config, progress(left)):
            write_file(folder / job.file, _as_webp(content, job.file))
        for name in (LISTING, AGENTS, LIMITS):
            shutil.copyfile(source / name, folder / name)
    return len(left)


def all_jobs(source: Path, config: RenderConfig) -> Iterator[Job]:
    """Every image of a set of agents, with the words for its attributes."""
    _, parts = load_agents(source)
    posters = {(name, part.split): rows for part in parts for name, rows in zip(part.names, part.pairs, strict=True)}
    for user in read_rows(source):
        for pair, rows in zip(user.pairs, posters[user.user, user.split], strict=True):
            for file, indices in zip((pair.liked, pair.disliked), rows, strict=True):
                words = config.words.replace(CAPTION, caption(Attributes.from_indices(indices)))
                digest = hashlib.sha256(f"{config.seed}:{file}".encode()).digest()
                yield Job(file, words, int.from_bytes(digest[:8]) % SEEDS)


def _painted(
    server: Server, workflow: Workflow, config: RenderConfig, jobs: Iterable[Job]
) -> Iterator[tuple[Job, bytes]]:
    """Images in the order of the jobs; those next are queued meanwhile, and taken back where one fails."""
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
            f"node {workflow.named(workflow.image)} gave no image for {job.prompt!r}: correct --image-node."
        )
    return job, server.fetch({key: images[0][key] for key in ("filename", "subfolder", "type")})


def _as_webp(content: bytes, file: str) -> bytes:
    """The pixels alone: a PNG of ComfyUI carries the whole workflow with it."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise RenderError(f"the image for {file} could not be read ({error}): is it a still image?") from error
    lossless = io.BytesIO()
    pixels.save(lossless, "WEBP", lossless=True, method=2)
    return lossless.getvalue()


def _digest(source: Path) -> str:
    return hashlib.sha256(b"".join((Path(source) / name).read_bytes() for name in (LISTING, AGENTS))).hexdigest()


def _claim(folder: Path, settings: dict, begun: bool) -> None:
    """Keep what the images are made with; raises RenderError where those that are there were made otherwise."""
    file = folder / HOW
    settings = json.loads(json.dumps({name: value for name, value in settings.items() if name != "ahead"}))
    before = json.loads(file.read_text()) if begun else settings
    changed = sorted(name for name in settings if before.get(name) != settings[name])
    if changed:
        raise RenderError(
            f"{folder} was begun with another {', '.join(changed)}: repeat those settings, or remove the folder."
        )
    write_json(file, settings)


__all__ = ["Places", "RenderConfig", "RenderError", "Server", "Workflow", "render_set"]
