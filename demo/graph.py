"""Builds one API graph for each prompt: generates a picture with every method, and scores it for every person."""

from collections.abc import Callable
from dataclasses import dataclass, field

from demo.config import DemoConfig, PictureSpec, picture_specs
from prefgen.pocket.shapes import FEW_STEP_LORA
from tests.comfyui import Client, Graph, Node, Result


@dataclass
class PromptGraph:
    """The graph of one prompt.

    Attributes:
        graph: The graph.
        saves: For each picture, the node that saves it.
        scores: For each person, the node that scores all pictures, in the order of `saves`.
    """

    graph: Graph = field(default_factory=Graph)
    saves: dict[PictureSpec, Node] = field(default_factory=dict)
    scores: dict[str, Node] = field(default_factory=dict)

    def read(self, result: Result) -> tuple[dict, dict]:
        """Return the pictures by spec, and the scores by (spec, person)."""
        pictures = {spec: result.pictures(save)[0] for spec, save in self.saves.items()}
        scores = {
            (spec, person): score
            for person, node in self.scores.items()
            for spec, score in zip(self.saves, result.of(node)["scores"], strict=True)
        }
        return pictures, scores


def build_graph(config: DemoConfig, prompt: str) -> PromptGraph:
    """Build the graph of one prompt."""
    prompt_graph = PromptGraph()
    add = prompt_graph.graph.add
    pocket = add("LoadPocketGenerator")
    model, clip, vae = pocket[0], pocket[1], pocket[2]
    few_step_model = add("LoraLoaderModelOnly", model=model, lora_name=FEW_STEP_LORA.name, strength_model=1.0)
    preference = add("LoadPreferenceModel", checkpoint="pocket")
    histories = {person: add("LoadUserHistory", user=person) for person in config.people}
    prompts = {
        "positive": add("CLIPTextEncode", clip=clip, text=prompt),
        "negative": add("CLIPTextEncode", clip=clip, text=""),
    }
    noise = {
        "latent_image": add("EmptyLatentImage", width=config.size, height=config.size, batch_size=1),
        "seed": config.seed + config.prompts.index(prompt),
        "denoise": 1.0,
    }
    settings = {"sampler_name": config.sampler, "scheduler": config.scheduler, "steps": config.steps, "cfg": config.cfg}
    few_step_settings = {
        "sampler_name": "euler",
        "scheduler": config.reno_scheduler,
        "steps": config.reno_steps,
        "cfg": config.reno_cfg,
    }

    def sample(model: Node | list, settings: dict) -> Node:
        latent = add("KSampler", model=model, **settings, **prompts, **noise)
        return add("VAEDecode", samples=latent, vae=vae)

    def adapted_model(person: str) -> Node:
        embedding = add("EncodeUserHistory", preference_model=preference, history=histories[person])
        return add(
            "ApplyPreferenceAdapter",
            **{"model": model, "preference_model": preference, "embedding": embedding, "strength": config.strength},
            **{
                "sem_strength": 1.0,
                "core_strength": 1.0,
                "img_strength": 1.0,
                "start_percent": 0.0,
                "end_percent": 1.0,
            },
        )

    def optimise(person: str) -> Node:
        return add(
            "ReNOOptimize",
            **{"model": few_step_model, "vae": vae, "latent": noise["latent_image"], **prompts},
            **{"preference_model": preference, "history": histories[person], "prompt": prompt, "seed": noise["seed"]},
            **{"iterations": config.iterations, "num_initial_noises": config.num_initial_noises},
            **{"learning_rate": config.learning_rate, "objective": config.objective, "views": config.views},
            **{"steps": config.reno_steps, "cfg": config.reno_cfg, "scheduler": config.reno_scheduler},
            direction="like",
        )

    methods: dict[str, Callable[[str | None], Node]] = {
        "plain": lambda _: sample(model, settings),
        "adapter": lambda person: sample(adapted_model(person), settings),
        "plain_reno": lambda _: sample(few_step_model, few_step_settings),
        "reno": optimise,
    }
    images = {spec: methods[spec.method](spec.person)[0] for spec in picture_specs(config, prompt)}
    batch = None
    for spec, image in images.items():
        prompt_graph.saves[spec] = add("SaveImage", images=image, filename_prefix=spec.file.removesuffix(".png"))
        batch = add("ImageBatch", image1=batch, image2=image)[0] if batch else image
    for person, history in histories.items():
        prompt_graph.scores[person] = add(
            "PreferenceScore", preference_model=preference, history=history, images=batch, prompt=prompt
        )
    return prompt_graph


def generate_and_score(
    client: Client, config: DemoConfig, prompt: str, on_node: Callable[[], None]
) -> tuple[dict, dict]:
    """Generate and score the pictures of one prompt. `on_node` is called for every node that shows a result."""
    prompt_graph = build_graph(config, prompt)
    return prompt_graph.read(client.run(prompt_graph.graph, lambda kind, _: kind == "executed" and on_node()))
