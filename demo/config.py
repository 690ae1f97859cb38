"""Settings of the demo: prompts, people and sampling. They are fixed, so every run generates the same pictures."""

import json
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEOPLE_FOLDER = ROOT / "prefgen" / "pocket" / "people"


@dataclass(frozen=True)
class DemoConfig:
    """Prompts, people and sampling settings.

    Attributes:
        prompts: Prompts. No history contains their subjects, so that no liked image can be copied.
        people: Bundled people.
        seed: Noise seed of the first prompt; the next prompts use the next seeds. All pictures of a prompt use the same
            seed.
        size: Width and height in pixels.
        steps, cfg, sampler, scheduler: Sampling of the plain and the adapter pictures.
        strength: Strength of the adapter, chosen by `train.evaluate.generation.strength` on validation agents.
        reno_steps, reno_cfg, reno_scheduler: Sampling for the noise optimisation, with Euler and the few-step LoRA.
            `plain_reno` uses the same settings without optimisation.
        iterations, num_initial_noises, learning_rate, objective, views: Settings of the noise optimisation.
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
    num_initial_noises: int = 15
    learning_rate: float = 5.0
    objective: str = "margin"
    views: int = 4


@dataclass(frozen=True)
class PictureSpec:
    """Identifies a picture: prompt, method ("plain", "adapter", "plain_reno" or "reno"), and person or None."""

    prompt: str
    method: str
    person: str | None = None

    @property
    def file(self) -> str:
        """Return the file name."""
        return "-".join(part.replace(" ", "_") for part in (self.prompt, self.method, self.person) if part) + ".png"


@dataclass(frozen=True)
class HistoryFiles:
    """Image files of a person's history: one liked and one disliked image for each of eight prompts."""

    person: str
    liked: list[Path] = field(default_factory=list)
    disliked: list[Path] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)


def picture_specs(config: DemoConfig, prompt: str) -> list[PictureSpec]:
    """Return the pictures of one prompt, in the order of the contact sheet's columns."""
    return [
        PictureSpec(prompt, method, person)
        for plain, personal in (("plain", "adapter"), ("plain_reno", "reno"))
        for method, person in ((plain, None), *((personal, person) for person in config.people))
    ]


def load_history_files(person: str) -> HistoryFiles:
    """Load the history of a bundled person."""
    folder = PEOPLE_FOLDER / person
    pairs = json.loads((folder / "pairs.json").read_text())["pairs"]
    return HistoryFiles(
        person,
        [folder / pair["liked"] for pair in pairs],
        [folder / pair["disliked"] for pair in pairs],
        [pair["prompt"] for pair in pairs],
    )
