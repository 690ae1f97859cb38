"""Pieces of graphs that several server tests share: the pocket generator, a prompt, a person."""

from dataclasses import dataclass

from tests.comfyui import Graph, Node

SIZE = 96


@dataclass
class Pocket:
    """A graph that begins with the pocket generator, one prompt and one empty latent."""

    batch: int = 1
    prompt: str = "a lighthouse"

    def __post_init__(self) -> None:
        self.graph = Graph()
        pocket = self.add("LoadPocketGenerator")
        self.model, self.clip, self.vae = pocket[0], pocket[1], pocket[2]
        self.positive = self.add("CLIPTextEncode", clip=self.clip, text=self.prompt)
        self.negative = self.add("CLIPTextEncode", clip=self.clip, text="")
        self.latent = self.add("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=self.batch)

    def add(self, node: str, **inputs) -> Node:
        return self.graph.add(node, **inputs)

    def paint(self, model: Node | list | None = None, seed: int = 1, steps: int = 3, cfg: float = 2.0) -> Node:
        """KSampler and VAEDecode; returns the IMAGE."""
        latent = self.add(
            "KSampler",
            **{"model": model or self.model, "positive": self.positive, "negative": self.negative},
            **{"latent_image": self.latent, "seed": seed, "steps": steps, "cfg": cfg, "denoise": 1.0},
            **{"sampler_name": "euler", "scheduler": "simple"},
        )
        return self.add("VAEDecode", samples=latent, vae=self.vae)

    def save(self, value: Node | list) -> Node:
        """Keep a value at full precision: `result.tensor(node)`."""
        return self.add("ProbeSave", value=value)

    def history(self, seed: int = 0, pairs: int = 2) -> Node:
        """A history of noise images."""
        liked, disliked = (
            self.add("ProbeImage", fault="none", batch=pairs, size=SIZE, seed=2 * seed + side) for side in (0, 1)
        )
        return self.add("BuildUserHistory", liked=liked, disliked=disliked, prompts="", name=f"user {seed}")

    def preference(self, checkpoint: str = "pocket") -> Node:
        return self.add("LoadPreferenceModel", checkpoint=checkpoint)

    def adapted(self, preference: Node, embedding: Node, model: Node | list | None = None, **inputs) -> Node:
        """ApplyPreferenceAdapter; `inputs` replace the defaults."""
        settings = {"strength": 1.0, "sem_strength": 1.0, "core_strength": 1.0, "img_strength": 1.0}
        settings |= {"start_percent": 0.0, "end_percent": 1.0} | inputs
        chosen = {"model": model or self.model, "preference_model": preference, "embedding": embedding}
        return self.add("ApplyPreferenceAdapter", **chosen, **settings)

    def optimised(self, preference: Node, history: Node, model: Node | list | None = None, **inputs) -> Node:
        """ReNOOptimize; `inputs` replace the defaults."""
        settings = {"seed": 1, "iterations": 3, "learning_rate": 5.0, "steps": 2, "cfg": 2.0, "scheduler": "simple"}
        chosen = {"model": model or self.model, "vae": self.vae, "positive": self.positive, "negative": self.negative}
        chosen |= {"latent": self.latent, "preference_model": preference, "history": history, "prompt": self.prompt}
        given = chosen | settings | inputs
        return self.add("ReNOOptimize", **{name: value for name, value in given.items() if value is not None})
