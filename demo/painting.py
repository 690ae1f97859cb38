"""One API graph a prompt: paint it every way, score every picture for every person."""

from collections.abc import Callable
from dataclasses import dataclass, field

from demo.plan import Cell, Plan, cells
from prefgen.pocket.shapes import FEW_STEP_LORA
from tests.comfyui import Client, Graph, Node, Result


@dataclass
class Painting:
    """A prompt's graph, where each picture is saved, and where each person's scores (in `saves` order) are shown."""

    graph: Graph = field(default_factory=Graph)
    saves: dict[Cell, Node] = field(default_factory=dict)
    scores: dict[str, Node] = field(default_factory=dict)

    def read(self, result: Result) -> tuple[dict, dict]:
        """The pictures by cell, and the scores by (cell, person)."""
        pictures = {cell: result.pictures(save)[0] for cell, save in self.saves.items()}
        scores = {
            (cell, person): score
            for person, node in self.scores.items()
            for cell, score in zip(self.saves, result.of(node)["scores"], strict=True)
        }
        return pictures, scores


def painting(plan: Plan, prompt: str) -> Painting:
    """Build the graph of one prompt."""
    made = Painting()
    add = made.graph.add
    pocket = add("LoadPocketGenerator")
    model, clip, vae = pocket[0], pocket[1], pocket[2]
    quick = add("LoraLoaderModelOnly", model=model, lora_name=FEW_STEP_LORA.name, strength_model=1.0)
    preference = add("LoadPreferenceModel", checkpoint="pocket")
    histories = {person: add("LoadUserHistory", user=person) for person in plan.people}
    prompts = {
        "positive": add("CLIPTextEncode", clip=clip, text=prompt),
        "negative": add("CLIPTextEncode", clip=clip, text=""),
    }
    noise = {
        "latent_image": add("EmptyLatentImage", width=plan.size, height=plan.size, batch_size=1),
        "seed": plan.seed + plan.prompts.index(prompt),
        "denoise": 1.0,
    }
    full = {"sampler_name": plan.sampler, "scheduler": plan.scheduler, "steps": plan.steps, "cfg": plan.cfg}
    few = {"sampler_name": "euler", "scheduler": plan.reno_scheduler, "steps": plan.reno_steps, "cfg": plan.reno_cfg}

    def sampled(model: Node | list, how: dict) -> Node:
        latent = add("KSampler", model=model, **how, **prompts, **noise)
        return add("VAEDecode", samples=latent, vae=vae)

    def adapted(person: str) -> Node:
        embedding = add("EncodeUserHistory", model=preference, history=histories[person])
        return add(
            "ApplyPreferenceAdapter",
            **{"model": model, "preference_model": preference, "embedding": embedding, "strength": plan.strength},
            **{"sem_strength": 1.0, "core_strength": 1.0, "img_strength": 1.0, "start": 0.0, "end": 1.0},
        )

    def optimised(person: str) -> Node:
        return add(
            "ReNOOptimize",
            **{"model": quick, "vae": vae, "latent": noise["latent_image"], **prompts},
            **{"preference_model": preference, "history": histories[person], "prompt": prompt, "seed": noise["seed"]},
            **{"iterations": plan.iterations, "starts": plan.starts, "learning_rate": plan.learning_rate},
            **{"reward": plan.reward, "views": plan.views},
            **{"steps": plan.reno_steps, "cfg": plan.reno_cfg, "scheduler": plan.reno_scheduler, "sense": "like"},
        )

    paint: dict[str, Callable[[str | None], Node]] = {
        "plain": lambda _: sampled(model, full),
        "adapter": lambda person: sampled(adapted(person), full),
        "plain_reno": lambda _: sampled(quick, few),
        "reno": optimised,
    }
    images = {cell: paint[cell.method](cell.person)[0] for cell in cells(plan, prompt)}
    batch = None
    for cell, image in images.items():
        made.saves[cell] = add("SaveImage", images=image, filename_prefix=cell.file.removesuffix(".png"))
        batch = add("ImageBatch", image1=batch, image2=image)[0] if batch else image
    for person, history in histories.items():
        made.scores[person] = add("PreferenceScore", model=preference, history=history, images=batch, prompt=prompt)
    return made


def paint(client: Client, plan: Plan, prompt: str, on_node: Callable[[], None]) -> tuple[dict, dict]:
    """Paint and score one prompt; `on_node` is called for every node that shows a result."""
    made = painting(plan, prompt)
    return made.read(client.run(made.graph, lambda kind, _: kind == "executed" and on_node()))
