"""Settings of the learning demo: agents, rounds, and the prompt and seed of every round."""

from dataclasses import dataclass, field

from demo.config import DemoConfig
from train.data.posters import ATTRIBUTES

SUBJECTS = tuple(ATTRIBUTES["subject"].values())
"""Subjects of the prompts. Tastes do not depend on the subject, so no prompt is better than another."""

FIRST_SEED = 3_000_000
"""First noise seed. No evaluation uses this seed or higher ones."""


@dataclass(frozen=True)
class LearnConfig:
    """Settings of the learning demo.

    Attributes:
        agents: Number of simulated users; each has its own profile.
        rounds: Number of rounds of generating and rating. The first round is not personalised, because there are no
            ratings yet.
        seed: Seed of the agents and of the noise.
        images: Number of pictures per round, generated as one batch from one prompt.
        sampling: Sampling and adapter strength, the same as in the demo and in workflows/api/quickstart.json.
        profiles: Prefix of the profile names.
    """

    agents: int = 20
    rounds: int = 8
    seed: int = 0
    images: int = 4
    sampling: DemoConfig = field(default_factory=DemoConfig)
    profiles: str = "agent"

    def profile(self, agent: int) -> str:
        """Return the name of an agent's profile."""
        return f"{self.profiles} {agent + 1:02d}"

    def prompt(self, agent: int, round_index: int) -> str:
        """Return the prompt for an agent's round. Agents and rounds are counted from 0.

        Agents cycle through the subjects from different starting points. Up to 12 rounds, no agent repeats a subject,
        and every round has the same mix of subjects.
        """
        return SUBJECTS[(agent + round_index) % len(SUBJECTS)]

    def noise(self, agent: int, round_index: int) -> int:
        """Return the noise seed of a round's batch. All seeds are different."""
        return FIRST_SEED + (self.seed * self.agents + agent) * self.rounds + round_index
