"""One API graph a prompt: paint it every way, score every picture for every person."""

from collections.abc import Callable
from dataclasses import dataclass, field

from demo.config import DemoConfig, PictureSpec, picture_specs
from prefgen.pocket.shapes import FEW_STEP_LORA
from tests.comfyui import Client, Graph, Node, Result


@dataclass
class PromptGraph:
    """A prompt's graph, where each picture is saved, and where each person's scores (in `saves` order) are shown."""

    graph: Graph = field(default_factory=Graph)
    saves: dict[PictureSpec, Node] = field(default_factory=dict)
    scores: dict[str, Node] = field(default_factory=dict)

    def read(self, result: Result) -> tuple[dict, dict]:
        """The pictures by spec, and the scores by (spec, person)."""
        pictures = {spec: result.pictures(save)[0] for spec, save in self.saves.items()}
        scores = {
            (spec, person): score
            for person, node in self.scores.items()
            for spec, score in zip(self.saves, result.of(node)["scores"], strict=True)
        }
        return pictures, scores


def build_graph(config: DemoConfig, prompt: str) -> PromptGraph:
    """Build the graph of one prompt."""
    made = PromptGraph()
    add = made.graph.add
    pocket = add("LoadPocketGenerator")
    model, clip, vae = pocket[0], pocket[1], pocket[2]
    quick = add("LoraLoaderModelOnly", model=model, lora_name=FEW_STEP_LORA.name, strength_model=1.0)
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
    full = {"sampler_name": config.sampler, "scheduler": config.scheduler, "steps": config.steps, "cfg": config.cfg}
    few = {
        "sampler_name": "euler",
        "scheduler": config.reno_scheduler,
        "steps": config.reno_steps,
        "cfg": config.reno_cfg,
    }

    def sampled(model: Node | list, how: dict) -> Node:
        latent = add("KSampler", model=model, **how, **prompts, **noise)
        return add("VAEDecode", samples=latent, vae=vae)

    def adapted(person: str) -> Node:
        embedding = add("EncodeUserHistory", model=preference, history=histories[person])
        return add(
            "ApplyPreferenceAdapter",
            **{"model": model, "preference_model": preference, "embedding": embedding, "strength": config.strength},
            **{"sem_strength": 1.0, "core_strength": 1.0, "img_strength": 1.0, "start": 0.0, "end": 1.0},
        )

    def optimised(person: str) -> Node:
        return add(
            "ReNOOptimize",
            **{"model": quick, "vae": vae, "latent": noise["latent_image"], **prompts},
            **{"preference_model": preference, "history": histories[person], "prompt": prompt, "seed": noise["seed"]},
            **{"iterations": config.iterations, "starts": config.starts, "learning_rate": config.learning_rate},
            **{"reward": config.reward, "views": config.views},
            **{"steps": config.reno_steps, "cfg": config.reno_cfg, "scheduler": config.reno_scheduler, "sense": "like"},
        )

    paint: dict[str, Callable[[str | None], Node]] = {
        "plain": lambda _: sampled(model, full),
        "adapter": lambda person: sampled(adapted(person), full),
        "plain_reno": lambda _: sampled(quick, few),
        "reno": optimised,
    }
    images = {spec: paint[spec.method](spec.person)[0] for spec in picture_specs(config, prompt)}
    batch = None
    for spec, image in images.items():
        made.saves[spec] = add("SaveImage", images=image, filename_prefix=spec.file.removesuffix(".png"))
        batch = add("ImageBatch", image1=batch, image2=image)[0] if batch else image
    for person, history in histories.items():
        made.scores[person] = add("PreferenceScore", model=preference, history=history, images=batch, prompt=prompt)
    return made


def generate_and_score(
    client: Client, config: DemoConfig, prompt: str, on_node: Callable[[], None]
) -> tuple[dict, dict]:
    """Paint and score one prompt; `on_node` is called for every node that shows a result."""
    made = build_graph(config, prompt)
    return made.read(client.run(made.graph, lambda kind, _: kind == "executed" and on_node()))
