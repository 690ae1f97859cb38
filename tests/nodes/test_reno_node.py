"""ReNOOptimize on the real server: gradients through core's UNet and VAE."""

import numpy as np
import pytest

from tests.comfyui import Interrupted, NodeError
from tests.nodes.graphs import Pocket

pytestmark = pytest.mark.server


def optimised(comfy, batch: int = 1, **settings):
    """Run ReNOOptimize; gives (image, its ui, the result)."""
    graph = Pocket(batch=batch)
    node = graph.optimised(graph.preference(), graph.history(), **settings)
    save = graph.save(node)
    result = comfy.run(graph.graph)
    return result.tensor(save), result.of(node), result


def test_the_reward_rises_and_is_shown(comfy):
    image, shown, result = optimised(comfy, iterations=6, learning_rate=20.0)
    assert image.shape == (1, 96, 96, 3)
    rewards = np.array(shown["rewards"])
    assert rewards.shape == (1, 6)
    assert shown["best"][0] == pytest.approx(rewards.max())
    assert rewards.max() > rewards[0, 0]
    assert rewards[0, shown["best_iteration"][0]] == pytest.approx(rewards.max())
    assert (6, 6) in [(value, maximum) for _, value, maximum in result.progress]


def test_one_iteration_is_ksamplers_image(comfy):
    graph = Pocket(batch=2)
    node = graph.optimised(graph.preference(), graph.history(), iterations=1, seed=5, steps=3)
    ours, plain = graph.save(node), graph.save(graph.paint(seed=5, steps=3))
    result = comfy.run(graph.graph)
    assert np.array_equal(result.tensor(ours), result.tensor(plain))


def test_the_noise_paints_the_very_image_through_core(comfy):
    graph = Pocket(batch=2)
    node = graph.optimised(graph.preference(), graph.history(), learning_rate=20.0)
    prompts = {"positive": graph.positive, "negative": graph.negative}
    guider = graph.add("CFGGuider", model=graph.model, cfg=2.0, **prompts)
    euler = graph.add("KSamplerSelect", sampler_name="euler")
    inputs = {"guider": guider, "sampler": euler, "sigmas": node[4], "latent_image": graph.latent}
    latent = graph.add("SamplerCustomAdvanced", noise=node[2], **inputs)
    ours, latents, curve = graph.save(node), graph.save(node[1]), graph.save(node[3])
    theirs = graph.save(graph.add("VAEDecode", samples=latent, vae=graph.vae))
    result = comfy.run(graph.graph)
    assert np.array_equal(result.tensor(ours), result.tensor(theirs))
    assert result.tensor(latents).shape == (2, 4, 12, 12)
    assert result.tensor(curve).shape[-1] == 3


def test_the_same_seed_gives_the_same_image_twice(comfy):
    first, *_ = optimised(comfy, learning_rate=20.0)
    comfy.free()
    again, *_ = optimised(comfy, learning_rate=20.0)
    assert np.array_equal(first, again)


def test_an_interrupt_ends_it_and_the_server_goes_on(comfy):
    seen = []

    def interrupt_once(kind, data):
        if kind == "progress" and data["value"] >= 2 and not seen:
            seen.append(data["value"])
            comfy.interrupt()

    graph = Pocket()
    graph.save(graph.optimised(graph.preference(), graph.history(), iterations=1000))
    with pytest.raises(Interrupted):
        comfy.run(graph.graph, on_event=interrupt_once, timeout=120)
    image, *_ = optimised(comfy)
    assert np.isfinite(image).all()


def test_the_adapter_and_the_noise_work_together(comfy):
    graph = Pocket()
    preference, history = graph.preference(), graph.history()
    embedding = graph.add("EncodeUserHistory", model=preference, history=history)
    personal = graph.adapted(preference, embedding, start=0.0, end=0.9)
    both = graph.optimised(preference, history, personal, learning_rate=2.0)
    alone = graph.optimised(preference, history, learning_rate=2.0)
    saves = graph.save(both), graph.save(alone)
    result = comfy.run(graph.graph)
    assert not np.array_equal(result.tensor(saves[0]), result.tensor(saves[1]))
    assert max(result.of(both)["rewards"][0]) > result.of(both)["rewards"][0][0]


def test_dislikes_are_climbed_too_and_the_margin_is_a_reward(comfy):
    _, liked, _ = optimised(comfy, reward="margin")
    _, disliked, _ = optimised(comfy, reward="margin", sense="dislike")
    assert disliked["rewards"][0][0] == pytest.approx(-liked["rewards"][0][0], rel=1e-4)


def test_without_a_negative_prompt_cfg_must_be_one(comfy):
    with pytest.raises(NodeError, match="no negative prompt is connected"):
        optimised(comfy, negative=None)
    image, *_ = optimised(comfy, negative=None, cfg=1.0)
    assert image.shape == (1, 96, 96, 3)
