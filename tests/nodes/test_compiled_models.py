"""MODELs compiled by core's TorchCompileModel, on the real server."""

import numpy as np
import pytest

from tests.comfyui import Client
from tests.nodes.graphs import Pocket

pytestmark = [pytest.mark.server, pytest.mark.slow]  # compiling takes a minute

ROUNDING = 2e-3  # of compiled pictures, which differ from uncompiled ones by 1e-4


def personal(pocket: Pocket, history: int = 0, **settings):
    preference = pocket.preference()
    embedding = pocket.add("EncodeUserHistory", preference_model=preference, history=pocket.history(history))
    return pocket.adapted(preference, embedding, **settings)


def painted(comfy: Client, *layers, batch: int = 1, **sampling) -> np.ndarray:
    """Paint with a MODEL on which each of `layers` (pocket, MODEL) -> MODEL was put."""
    pocket = Pocket(batch)
    model = pocket.model
    for layer in layers:
        model = layer(pocket, model)
    saved = pocket.save(pocket.paint(model, **sampling))
    return comfy.run(pocket.graph, timeout=500).tensor(saved)


def compiled(pocket, model):
    return pocket.add("TorchCompileModel", model=model, backend="cudagraphs")


def adapted(history: int = 0, **settings):
    return lambda pocket, model: personal(pocket, history, model=model, **settings)


def masked(pocket, model):
    mask = pocket.add("SolidMask", value=1.0, width=48, height=96)
    black = pocket.add("SolidMask", value=0.0, width=96, height=96)
    half = pocket.add("MaskComposite", destination=black, source=mask, x=0, y=0, operation="add")
    return personal(pocket, model=model, mask=half)


@pytest.fixture(scope="module")
def compiled_plain(server):
    """The plain picture of a compiled MODEL, whose code PyTorch then keeps."""
    return painted(Client(server), compiled)


@pytest.mark.parametrize(
    "layers",
    [
        (adapted(),),
        (adapted(1),),
        (adapted(end_percent=0.5),),
        (adapted(variety=0.0),),
        (adapted(dislikes="push away"),),
        (masked,),
        (adapted(), adapted(1)),
    ],
    ids=["ada", "bo", "window", "likeliest", "pushed", "mask", "two"],
)
def test_a_compiled_model_paints_for_the_person_after_it_painted_plainly(comfy, compiled_plain, layers):
    expected = painted(comfy, *layers)
    assert np.abs(expected - compiled_plain).max() > 20 * ROUNDING
    assert np.abs(painted(comfy, *layers, compiled) - expected).max() < ROUNDING
    assert np.abs(painted(comfy, compiled, *layers) - expected).max() < ROUNDING, "in the other order of nodes"


def optimised(comfy: Client, *layers) -> dict:
    """Optimise noise with a MODEL of `layers`; return its images, its report, and the score of the images."""
    pocket = Pocket()
    model = pocket.model
    for layer in layers:
        model = layer(pocket, model)
    preference = pocket.preference()
    reno = pocket.optimised(preference, pocket.history(), model, iterations=2)
    given = {"preference_model": preference, "history": pocket.history(), "prompt": pocket.prompt}
    scores, images = pocket.add("PreferenceScore", images=reno, **given), pocket.save(reno)
    result = comfy.run(pocket.graph, timeout=500)
    return {"images": result.tensor(images), "scores": result.of(scores)["scores"]} | result.of(reno)


def test_reno_optimises_and_paints_for_the_person_with_a_compiled_model(comfy, compiled_plain):
    optimised(comfy, compiled)
    expected, found = optimised(comfy, adapted()), optimised(comfy, adapted(), compiled)
    assert not found["notice"]
    assert np.allclose(found["scores"], found["best"], atol=2e-3)
    assert np.allclose(found["rewards"], expected["rewards"], atol=5e-3)
    assert np.abs(found["images"] - expected["images"]).max() < 10 * ROUNDING
