"""What the learning demo asks for: how many agents and rounds, and every round's prompt and seed."""

from dataclasses import dataclass, field

from demo.config import DemoConfig
from train.data.posters import ATTRIBUTES

SUBJECTS = tuple(ATTRIBUTES["subject"].values())
"""What prompts name. An agent has no taste about it, so that no prompt is better than another."""

FIRST_SEED = 3_000_000
"""Of the noise; no evaluation paints from here on."""


@dataclass(frozen=True)
class LearnConfig:
    """How much is painted, and how.

    Attributes:
        agents: simulated users, each with a profile of their own.
        rounds: of painting and rating; the first is painted for nobody, since nothing is rated yet.
        seed: of the agents, and of every noise.
        images: painted in a round, of one prompt, as a batch.
        how: the sampling and the adapter's strength: those of the demo and of workflows/quickstart.json.
        profiles: what the profiles' names begin with.
    """

    agents: int = 20
    rounds: int = 8
    seed: int = 0
    images: int = 4
    sampling: DemoConfig = field(default_factory=DemoConfig)
    profiles: str = "agent"

    def profile(self, agent: int) -> str:
        """The name of an agent's profile."""
        return f"{self.profiles} {agent + 1:02d}"

    def prompt(self, agent: int, round_index: int) -> str:
        """What an agent asks for in a round, both counted from 0.

        Subjects go round, and agents begin at different ones: with up to 12 rounds nobody asks twice for the same, and
        no round has a subject of its own.
        """
        return SUBJECTS[(agent + round_index) % len(SUBJECTS)]

    def noise(self, agent: int, round_index: int) -> int:
        """The seed of a round's batch: no two are the same."""
        return FIRST_SEED + (self.seed * self.agents + agent) * self.rounds + round_index
