"""Whose row is whose, with core's own guiders and areas, on the real server."""

import numpy as np
import pytest

from tests.comfyui import NodeError
from tests.nodes.graphs import SIZE, Pocket

pytestmark = pytest.mark.server


def personal(graph: Pocket, **settings):
    """The pocket generator with a person's adapter."""
    preference = graph.preference()
    embedding = graph.add("EncodeUserHistory", preference_model=preference, history=graph.history())
    return graph.adapted(preference, embedding, **settings)


def guided(graph: Pocket, guider):
    """Three Euler steps with a guider; returns the IMAGE."""
    sigmas = graph.add("BasicScheduler", model=graph.model, scheduler="simple", steps=3, denoise=1.0)
    sampler = graph.add("KSamplerSelect", sampler_name="euler")
    given = {"noise": graph.add("RandomNoise", noise_seed=1), "sampler": sampler, "sigmas": sigmas}
    latent = graph.add("SamplerCustomAdvanced", guider=guider, latent_image=graph.latent, **given)
    return graph.add("VAEDecode", samples=latent, vae=graph.vae)


def images(comfy, build) -> list[np.ndarray]:
    graph = Pocket()
    kept = [graph.save(image) for image in build(graph)]
    result = comfy.run(graph.graph)
    return [result.tensor(one) for one in kept]


def test_a_guider_that_begins_with_the_negative_prompt_leads_to_the_taste(comfy):
    """DualCFGGuider with twice the same negative is the usual guidance: of three prompts the last one is positive."""

    def build(graph):
        prompts = {"cond1": graph.positive, "cond2": graph.negative, "negative": graph.negative}
        scales = {"cfg_conds": 2.0, "cfg_cond2_negative": 1.5, "style": "regular"}
        for model in (personal(graph), graph.model):
            yield guided(graph, graph.add("DualCFGGuider", model=model, **prompts, **scales))
            yield graph.paint(model)

    dual, usual, dual_plain, usual_plain = images(comfy, build)
    assert np.abs(usual - usual_plain).max() > 0.01
    # Three rows in place of two, and so other kernels.
    assert np.abs(dual_plain - usual_plain).max() < 1e-3
    assert np.abs(dual - usual).max() < 1e-3


def test_a_negative_prompt_that_is_called_alone_is_nobodys(comfy):
    """DualModelGuider with twice the same MODEL is the usual guidance."""

    def build(graph):
        model = personal(graph)
        given = {"positive": graph.positive, "negative": graph.negative, "cfg": 2.0}
        yield guided(graph, graph.add("DualModelGuider", model=model, model_negative=model, **given))
        yield graph.paint(model)

    alone, usual = images(comfy, build)
    assert np.abs(alone - usual).max() < 1e-3


def halves(graph: Pocket):
    """The prompt for the left half alone, and an empty one for the right."""
    size = {"width": 0.5, "height": 1.0, "y": 0.0, "strength": 1.0}
    left = graph.add("ConditioningSetAreaPercentage", conditioning=graph.positive, x=0.0, **size)
    right = graph.add("ConditioningSetAreaPercentage", conditioning=graph.negative, x=0.5, **size)
    return graph.add("ConditioningCombine", conditioning_1=left, conditioning_2=right)


def half_mask(graph: Pocket, side: int):
    """White on the left (0) or right (1) half."""
    white = graph.add("SolidMask", value=1.0, width=SIZE // 2, height=SIZE)
    black = graph.add("SolidMask", value=0.0, width=SIZE, height=SIZE)
    place = {"x": side * SIZE // 2, "y": 0, "operation": "add"}
    return graph.add("MaskComposite", destination=black, source=white, **place)


@pytest.mark.parametrize("side", [0, 1])
def test_a_mask_counts_where_it_is_white_also_where_prompts_have_areas(comfy, side):
    """One step, so that nothing has spread: only the masked half's latents move."""

    def build(graph):
        graph.positive = halves(graph)
        for model in (personal(graph, mask=half_mask(graph, side)), graph.model):
            yield graph.add("VAEDecode", samples=latent_of(graph, model), vae=graph.vae)

    def latent_of(graph, model):
        return graph.add(
            "KSampler",
            **{"model": model, "positive": graph.positive, "negative": graph.negative, "latent_image": graph.latent},
            **{"seed": 1, "steps": 1, "cfg": 2.0, "denoise": 1.0, "sampler_name": "euler", "scheduler": "simple"},
        )

    masked, plain = images(comfy, build)
    moved = np.abs(masked - plain).mean(axis=(0, 1, 3))  # of each column
    inside, outside = (moved[:40], moved[-40:]) if side == 0 else (moved[-40:], moved[:40])
    assert inside.mean() > 5 * outside.mean()


def test_a_mask_of_other_proportions_is_refused_whatever_the_area(comfy):
    def build(graph):
        graph.positive = halves(graph)
        mask = graph.add("SolidMask", value=1.0, width=SIZE // 2, height=SIZE)
        yield graph.paint(personal(graph, mask=mask))

    with pytest.raises(NodeError, match="The mask is 48 x 96 pixels; expected the proportions of the image, 96 x 96"):
        images(comfy, build)
