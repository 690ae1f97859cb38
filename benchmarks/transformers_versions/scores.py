"""Prints the scores of two models under the installed transformers, as one JSON object.

The pocket model scores images of several shapes after a history of several shapes. A small random Idefics2 with the
vision grid of Idefics2-8B (70 x 70 positions at 980 px) scores images whose patches lie on the edges of its buckets.
"""

import hashlib
import json
from dataclasses import replace

import torch
import transformers

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.errors import CheckpointError
from prefgen.history import UserHistory
from prefgen.prefdisc.base.base_model import build_base
from prefgen.prefdisc.model import PrefDisc
from tests.prefgen import tiny

POCKET_SHAPES = ((96, 96), (96, 48), (60, 96), (36, 84))
LARGE_SHAPES = ((980, 980), (980, 490), (700, 980), (378, 588))
DTYPES = (torch.float32, torch.bfloat16)


def main() -> None:
    """Print the scores, or the error message that refuses this version."""
    try:
        models = {"pocket": (pocket_model(), POCKET_SHAPES), "980 px": (large_grid_model(), LARGE_SHAPES)}
    except CheckpointError as error:
        print(json.dumps({"transformers": transformers.__version__, "refused": str(error)}))
        return
    scores = {}
    for name, (model, shapes) in models.items():
        for dtype in DTYPES:
            scores[f"{name}, {str(dtype).removeprefix('torch.')}"] = score_shapes(model.to(dtype), shapes)
    print(json.dumps({"transformers": transformers.__version__, "scores": scores}))


def pocket_model() -> PrefDisc:
    return load_preference_model("pocket").prefdisc


def large_grid_model() -> PrefDisc:
    """Build a random model, whose weights do not depend on transformers' initialisation."""
    vision = tiny.CONFIG["vision_config"] | {"image_size": 980, "patch_size": 14}
    base = build_base(tiny.CONFIG | {"vision_config": vision})
    with torch.no_grad():
        for name, tensor in base.named_parameters():
            if tensor.ndim < 2:
                continue  # normalisation weights are 1 and biases 0
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed)) * 0.5)
    spec = replace(tiny.SPEC, longest_edge=980, shortest_edge=378)
    tokens = torch.randn(spec.num_tokens, tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    return PrefDisc(base.eval(), tiny.tokenizer(), spec, tokens)


def score_shapes(model: PrefDisc, shapes: tuple[tuple[int, int], ...]) -> list[float]:
    """Score one image of each shape (height, width) after a history with images of all shapes."""
    images = [torch.rand(3, *shape, generator=torch.Generator().manual_seed(i)) for i, shape in enumerate(shapes)]
    with torch.no_grad():
        prefix = model.encode(UserHistory.from_images(images, images[::-1], ["a cat"] * len(images)))
        return [model.score(prefix, image[None], "a cat").item() for image in images]


if __name__ == "__main__":
    main()
