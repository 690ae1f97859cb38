"""The graphs that are compared: every workflow, and at least one graph for each node."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import stand_ins
from .graphs import PocketGraph
from .method_cases import ADAPTER_CASES, RENO_CASES

PROFILE = "walls"
RATINGS = (
    (PROFILE, "1", "0, 3", "1"),
    (PROFILE, "2", "2", "0, 1"),
    (PROFILE, "3", "1", "3"),
    ("likes", "4", "0, 1", ""),
    ("dislikes", "5", "", "2"),
)
"""Profile, seed of a batch of images, indices of the liked images, indices of the disliked images. Each row becomes a
separate graph, because the order in which one graph rates its images is not fixed."""


@dataclass(frozen=True)
class Case:
    """A graph to run on both servers.

    Attributes:
        name: Name in the table.
        graph: Graph in API format, with old or new input names.
        embedding_files: Names of user embeddings that the graph saves. These files are compared, too.
        reads_user_files: Whether the graph reads a profile or embedding that a previous case wrote. Such cases run
            after the others, and run a second time on files that the earlier revision wrote.
        workflow: Name of the workflow file with this graph, or "". The file must be equal in both revisions.
    """

    name: str
    graph: dict[str, dict]
    embedding_files: tuple[str, ...] = ()
    reads_user_files: bool = False
    workflow: str = ""


def workflow_cases(checkout: Path) -> list[Case]:
    """Return the workflows of a checkout, with pocket models instead of large ones."""
    paths = sorted((checkout / "workflows" / "api").glob("*.json"))
    return [
        Case(f"workflow {path.stem}", stand_ins.use_pocket_models(json.loads(path.read_text())), workflow=path.name)
        for path in paths
    ]


def node_cases() -> list[Case]:
    """Return the cases for the nodes. Cases that read user files come last."""
    builders = PLAIN_CASES | ADAPTER_CASES | RENO_CASES
    cases = [built(name, build) for name, build in builders.items()]
    cases += [built(f"node RecordPreference, {' '.join(rating[:2])}", record(*rating)) for rating in RATINGS]
    cases.append(replace(built("node SaveUserEmbedding", save_embeddings), embedding_files=("ada", "of bo")))
    return cases + [replace(built(name, build), reads_user_files=True) for name, build in READING_CASES.items()]


def new_node_cases() -> list[Case]:
    """Return the cases for nodes that the earlier revision lacks. Benchmarks of a single revision run them, too."""
    return [built(name, build) for name, build in NEW_CASES.items()]


def built(name: str, build: Callable[[PocketGraph], None], **fields) -> Case:
    pocket = PocketGraph()
    build(pocket)
    return Case(name, pocket.graph.api(), **fields)


def pocket_generator(pocket: PocketGraph) -> None:
    image = pocket.paint()
    pocket.save(image, pocket.add("VAEEncode", pixels=image, vae=pocket.vae))


def preference_model(pocket: PocketGraph) -> None:
    for checkpoint, precision in (("pocket", "bfloat16"), (stand_ins.CONVERTED_CHECKPOINT, "float32")):
        model = pocket.add("LoadPreferenceModel", checkpoint=checkpoint, precision=precision, allow_download=False)
        score(pocket, model=model)


def build_history(pocket: PocketGraph) -> None:
    sides = {"liked": pocket.noise_images(3, seed=1), "disliked": pocket.noise_images(3, seed=2, size=64)}
    for prompts in ("", "a cat", "a cat\na red house\na boat"):
        history = pocket.add("BuildUserHistory", **sides, prompts=prompts, name="noise")
        score(pocket, history=history)


def load_history(pocket: PocketGraph) -> None:
    for user, settings in (("ada", {"max_pairs": 3}), ("bo", {"select": "diverse"})):
        history = pocket.add("LoadUserHistory", user=user, **settings)
        pocket.save(history[1], history[2])
        score(pocket, history=history)


def encode_history(pocket: PocketGraph) -> None:
    tower = pocket.add("ProbePocketClipVision")
    for inputs in ({}, {"clip_vision": tower}):
        pocket.save(pocket.paint(pocket.adapted(pocket.embedding(**inputs))))


def score(pocket: PocketGraph, **inputs) -> None:
    """Score noise images and save all outputs."""
    defaults = {"model": pocket.preference, "history": pocket.history, "images": pocket.noise_images(5, seed=9)}
    node = pocket.add("PreferenceScore", **defaults | {"prompt": "a lighthouse"} | inputs)
    pocket.save(node[2], node[3], node[4])
    for output in (0, 1):
        pocket.add("PreviewAny", source=node[output])


def blend(pocket: PocketGraph) -> None:
    ada, bo = (pocket.embedding(pocket.add("LoadUserHistory", user=user)) for user in ("ada", "bo"))
    for weight in (0.5, 0.8):
        node = pocket.add("BlendUserEmbeddings", embedding_a=ada, embedding_b=bo, weight_a=weight, weight_b=0.5)
        pocket.save(pocket.paint(pocket.adapted(node)))


def record(profile: str, seed: str, liked: str, disliked: str):
    """Return a function that builds a graph that rates a batch of four images."""

    def build(pocket: PocketGraph) -> None:
        inputs = {"images": pocket.noise_images(4, seed=int(seed)), "prompt": ("a cat", "a boat")[int(seed) % 2]}
        pocket.add("RecordPreference", profile=profile, liked=liked, disliked=disliked, **inputs)

    return build


def save_embeddings(pocket: PocketGraph) -> None:
    for user, filename in (("ada", ""), ("bo", "of bo")):
        embedding = pocket.embedding(pocket.add("LoadUserHistory", user=user))
        pocket.add("SaveUserEmbedding", embedding=embedding, filename=filename)


def load_embeddings(pocket: PocketGraph) -> None:
    ada, bo = (pocket.add("LoadUserEmbedding", file=f"{name}.safetensors") for name in ("ada", "of bo"))
    both = pocket.add("BlendUserEmbeddings", embedding_a=ada, embedding_b=bo, weight_a=0.5, weight_b=0.5)
    for embedding in (ada, bo, both):
        pocket.save(pocket.paint(pocket.adapted(embedding, dislikes="push away")))


def load_profile(pocket: PocketGraph) -> None:
    for select in ("latest", "diverse", "same prompt"):
        history = pocket.add("LoadUserHistory", user=PROFILE, select=select, max_pairs=2)
        pocket.save(history[1], history[2])
        score(pocket, history=history)


def one_sided_profiles(pocket: PocketGraph) -> None:
    for profile in ("likes", "dislikes"):
        history = pocket.add("LoadUserHistory", user=profile, when_unrated="paint plainly")
        pocket.save(pocket.paint(pocket.adapted(pocket.embedding(history))))


def show_profile(pocket: PocketGraph, **inputs) -> None:
    for user in (PROFILE, "ada"):
        pocket.add("ShowUserProfile", user=user, compare_with="bo", images=4, **inputs)


def profile_picture(pocket: PocketGraph) -> None:
    """Save the picture of a profile. The picture differs if a sentence in it was reworded."""
    model = {"model": pocket.preference}
    pocket.save(pocket.add("ShowUserProfile", user=PROFILE, compare_with="bo", images=4, **model))


def clip_vision_model(pocket: PocketGraph) -> None:
    model = pocket.add("PreferenceModelFromClipVision", clip_vision=pocket.add("ProbePocketClipVision"))
    score(pocket, model=model)
    pocket.save(pocket.optimised(preference_model=model))
    pocket.add("EncodeUserHistory", model=model, history=pocket.history)


NEW_CASES = {"node PreferenceModelFromClipVision": clip_vision_model}

PLAIN_CASES = {
    "node LoadPocketGenerator": pocket_generator,
    "node LoadPreferenceModel": preference_model,
    "node BuildUserHistory": build_history,
    "node LoadUserHistory": load_history,
    "node EncodeUserHistory": encode_history,
    "node PreferenceScore": score,
    "node BlendUserEmbeddings": blend,
}
READING_CASES = {
    "node LoadUserEmbedding": load_embeddings,
    "node LoadUserHistory, profile": load_profile,
    "node LoadUserHistory, one side": one_sided_profiles,
    "node ShowUserProfile, no model": show_profile,
    "node ShowUserProfile": lambda pocket: show_profile(pocket, model=pocket.preference),
    "node ShowUserProfile, picture": profile_picture,
}
