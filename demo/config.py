"""What the demo paints: fixed, so that every run shows the same pictures."""

import json
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEOPLE_FOLDER = ROOT / "prefgen" / "pocket" / "people"


@dataclass(frozen=True)
class DemoConfig:
    """Prompts, people and settings. The prompts name what no history shows, so nobody's favourite is copied.

    Attributes:
        seed: of the first prompt's noise; the next prompts take the next seeds. One prompt's pictures share a noise.
        steps, cfg, sampler, scheduler: of the plain and the adapter's pictures.
        strength: of the adapter; `train.evaluate.generation.strength` chose it on validation agents.
        reno_steps, reno_cfg, reno_scheduler, iterations, starts, learning_rate, reward, views: of the noise
            optimisation, which samples with Euler and the few-step LoRA; `plain_reno` is the same sampler and steps on
            the seed's noise.
        size: width and height in pixels.
    """

    prompts: tuple[str, ...] = ("a lighthouse", "a cactus", "a sailing boat")
    people: tuple[str, ...] = ("ada", "bo")
    seed: int = 2
    size: int = 96
    steps: int = 12
    cfg: float = 2.5
    sampler: str = "euler"
    scheduler: str = "normal"
    strength: float = 1.0
    reno_steps: int = 1
    reno_cfg: float = 1.0
    reno_scheduler: str = "simple"
    iterations: int = 30
    starts: int = 15
    learning_rate: float = 5.0
    reward: str = "margin"
    views: int = 4


@dataclass(frozen=True)
class PictureSpec:
    """One picture: of a prompt, by "plain", "adapter", "plain_reno" or "reno", for a person or for nobody."""

    prompt: str
    method: str
    person: str | None = None

    @property
    def file(self) -> str:
        """A file name that says what it is."""
        return "-".join(part.replace(" ", "_") for part in (self.prompt, self.method, self.person) if part) + ".png"


@dataclass(frozen=True)
class HistoryFiles:
    """A person's history, as files: what they liked and disliked of eight prompts."""

    person: str
    liked: list[Path] = field(default_factory=list)
    disliked: list[Path] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)


def picture_specs(config: DemoConfig, prompt: str) -> list[PictureSpec]:
    """The pictures of one prompt, in the order of the sheet's columns."""
    return [
        PictureSpec(prompt, method, person)
        for plain, personal in (("plain", "adapter"), ("plain_reno", "reno"))
        for method, person in ((plain, None), *((personal, person) for person in config.people))
    ]


def load_history_files(person: str) -> HistoryFiles:
    """Read a bundled person's history."""
    folder = PEOPLE_FOLDER / person
    pairs = json.loads((folder / "pairs.json").read_text())["pairs"]
    return HistoryFiles(
        person,
        [folder / pair["liked"] for pair in pairs],
        [folder / pair["disliked"] for pair in pairs],
        [pair["prompt"] for pair in pairs],
    )
