"""A graph builder for the cases: the pocket generator, one prompt and one user. Uses the old input names."""

from dataclasses import dataclass

from tests.comfyui import Graph, Node

SIZE = 96


@dataclass
class PocketGraph:
    """A graph that starts with the pocket generator, a prompt, an empty latent and a user's history."""

    batch: int = 1
    prompt: str = "a lighthouse"
    user: str = "ada"
    checkpoint: str = "pocket"
    precision: str = "auto"

    def __post_init__(self) -> None:
        self.graph = Graph()
        generator = self.add("LoadPocketGenerator")
        self.model, self.clip, self.vae = generator[0], generator[1], generator[2]
        self.positive = self.add("CLIPTextEncode", clip=self.clip, text=self.prompt)
        self.negative = self.add("CLIPTextEncode", clip=self.clip, text="")
        self.latent = self.add("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=self.batch)
        self.preference = self.add("LoadPreferenceModel", checkpoint=self.checkpoint, precision=self.precision)
        self.history = self.add("LoadUserHistory", user=self.user)

    def add(self, node_id: str, /, **inputs) -> Node:
        return self.graph.add(node_id, **inputs)

    def save(self, *values: Node | list) -> None:
        """Save images or latents at full precision."""
        for value in values:
            self.add("ProbeSave", value=value)

    def noise_images(self, count: int, seed: int = 0, size: int = SIZE) -> Node:
        return self.add("ProbeImage", fault="none", batch=count, size=size, seed=seed)

    def paint(self, model: Node | list | None = None, steps: int = 4, cfg: float = 2.0, seed: int = 1) -> Node:
        """Add KSampler and VAEDecode; returns the node with the image."""
        latent = self.add(
            "KSampler",
            **{"model": model or self.model, "positive": self.positive, "negative": self.negative},
            **{"latent_image": self.latent, "seed": seed, "steps": steps, "cfg": cfg, "denoise": 1.0},
            **{"sampler_name": "euler", "scheduler": "normal"},
        )
        return self.add("VAEDecode", samples=latent, vae=self.vae)

    def embedding(self, history: Node | list | None = None, **inputs) -> Node:
        return self.add("EncodeUserHistory", model=self.preference, history=history or self.history, **inputs)

    def adapted(self, embedding: Node | None = None, model: Node | list | None = None, **settings) -> Node:
        """Add ApplyPreferenceAdapter; `settings` replace the defaults."""
        strengths = dict.fromkeys(("strength", "sem_strength", "core_strength", "img_strength"), 1.0)
        return self.add(
            "ApplyPreferenceAdapter",
            **{"model": model or self.model, "preference_model": self.preference},
            **{"embedding": embedding or self.embedding()},
            **strengths | {"start": 0.0, "end": 1.0} | settings,
        )

    def optimised(self, model: Node | list | None = None, **settings) -> Node:
        """Add ReNOOptimize; `settings` replace the defaults, and None leaves an input out."""
        inputs = {
            **{"model": model or self.model, "vae": self.vae, "positive": self.positive, "negative": self.negative},
            **{"latent": self.latent, "preference_model": self.preference, "history": self.history},
            **{"prompt": self.prompt, "seed": 1, "iterations": 3, "learning_rate": 5.0, "steps": 2, "cfg": 2.0},
            **settings,
        }
        return self.add("ReNOOptimize", **{name: value for name, value in inputs.items() if value is not None})

    def sample(self, optimised: Node, model: Node | list | None = None, cfg: float = 2.0) -> Node:
        """Paint from the noise and sigmas of ReNOOptimize with core's own sampler."""
        prompts = {"positive": self.positive, "negative": self.negative}
        latent = self.add(
            "SamplerCustomAdvanced",
            noise=optimised[2],
            guider=self.add("CFGGuider", model=model or self.model, cfg=cfg, **prompts),
            sampler=self.add("KSamplerSelect", sampler_name="euler"),
            sigmas=optimised[4],
            latent_image=self.latent,
        )
        return self.add("VAEDecode", samples=latent[0], vae=self.vae)
