"""ReNOOptimize on the real server: gradients through core's UNet and VAE."""

import numpy as np
import pytest

from tests.comfyui import Interrupted, NodeError
from tests.nodes.graphs import Pocket
from tests.prefgen import rewards_files

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


@pytest.mark.parametrize("personal", [False, True])
def test_the_noise_paints_the_very_image_through_core(comfy, personal):
    """Also where an adapter draws words for each picture: by the noise's seed, which stays the same."""
    graph = Pocket(batch=2)
    preference, history, model = graph.preference(), graph.history(), graph.model
    if personal:
        model = graph.adapted(preference, graph.add("EncodeUserHistory", preference_model=preference, history=history))
    node = graph.optimised(preference, history, learning_rate=20.0, model=model)
    prompts = {"positive": graph.positive, "negative": graph.negative}
    guider = graph.add("CFGGuider", model=model, cfg=2.0, **prompts)
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
    embedding = graph.add("EncodeUserHistory", preference_model=preference, history=history)
    personal = graph.adapted(preference, embedding, start_percent=0.0, end_percent=0.9)
    both = graph.optimised(preference, history, personal, learning_rate=2.0)
    alone = graph.optimised(preference, history, learning_rate=2.0)
    saves = graph.save(both), graph.save(alone)
    result = comfy.run(graph.graph)
    assert not np.array_equal(result.tensor(saves[0]), result.tensor(saves[1]))
    assert max(result.of(both)["rewards"][0]) > result.of(both)["rewards"][0][0]


def test_views_are_drawn_by_the_seed(comfy):
    _, plain, _ = optimised(comfy, iterations=2)
    _, seen, _ = optimised(comfy, iterations=2, views=2)
    _, again, _ = optimised(comfy, iterations=2, views=2, patience=9)
    assert abs(seen["rewards"][0][0] - plain["rewards"][0][0]) > 1e-4, "the mean of two views is not the image's"
    # patience makes it run anew; the same operations
    assert again["rewards"][0] == pytest.approx(seen["rewards"][0], rel=1e-4)


def test_the_climb_starts_from_the_best_noise(comfy):
    _, best_of_two, _ = optimised(comfy, batch=2, iterations=2, num_initial_noises=2)
    tried = np.array(best_of_two["rewards"])
    assert best_of_two["best"] == pytest.approx(tried.max(1)), "as many starts as iterations is best-of-N"
    assert (tried[:, 0] != tried[:, 1]).all(), "another noise, for each image of the batch"
    _, climbed, result = optimised(comfy, batch=2, iterations=4, num_initial_noises=2, learning_rate=20.0)
    rewards = np.array(climbed["rewards"])
    assert rewards[:, :2] == pytest.approx(tried, rel=1e-4)
    assert rewards[:, 2] == pytest.approx(tried.max(1), rel=1e-4)
    assert (4, 4) in [(value, maximum) for _, value, maximum in result.progress]


def test_dislikes_are_climbed_too_and_the_margin_is_a_reward(comfy):
    _, liked, _ = optimised(comfy, objective="margin")
    _, disliked, _ = optimised(comfy, objective="margin", direction="dislike")
    assert disliked["rewards"][0][0] == pytest.approx(-liked["rewards"][0][0], rel=1e-4)


def test_without_a_negative_prompt_cfg_must_be_one(comfy):
    with pytest.raises(NodeError, match="expected 1 without a negative prompt"):
        optimised(comfy, negative=None)
    image, *_ = optimised(comfy, negative=None, cfg=1.0)
    assert image.shape == (1, 96, 96, 3)


def test_published_rewards_are_added_by_their_weights(comfy, server):
    """CLIP as small as it can be, put where a person would put the published one."""
    rewards_files.write_clip(server.base / "models" / "prefgen" / "rewards")
    first = []
    for weight in (0.0, 1.0, 2.0):
        image, shown, _ = optimised(comfy, iterations=2, steps=1, clip_weight=weight, preference_weight=0.75)
        first.append(shown["rewards"][0][0])
        assert np.isfinite(image).all()
    plain, once, twice = first
    assert abs(once - plain) > 1e-3, "a cosine of random towers"
    assert twice - plain == pytest.approx(2 * (once - plain), rel=1e-3)
    _, score, _ = optimised(comfy, iterations=1, steps=1)
    assert plain == pytest.approx(0.75 * score["rewards"][0][0], rel=1e-4)


def test_adam_and_the_plateau(comfy):
    _, shown, _ = optimised(comfy, optimiser="adam", learning_rate=0.05, iterations=3)
    assert max(shown["rewards"][0]) > shown["rewards"][0][0]
    # nothing moves at a rate of 0, so nothing gets better
    _, still, _ = optimised(comfy, learning_rate=0.0, iterations=50, patience=2, batch=2)
    assert np.array(still["rewards"]).shape == (2, 3)


def test_checkpointing_changes_the_memory_and_not_the_image(comfy):
    plain, shown, _ = optimised(comfy, iterations=3, learning_rate=20.0)
    recomputed, again, _ = optimised(comfy, iterations=3, learning_rate=20.0, checkpointing=True)
    # the same operations twice; only sums of gradients may come in another order
    assert again["rewards"][0] == pytest.approx(shown["rewards"][0], rel=1e-3)
    assert np.abs(plain - recomputed).max() < 0.02


@pytest.mark.parametrize(
    ("patch", "settings"),
    [
        ("FreeU_V2", {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}),
        ("NAGuidance", {"nag_scale": 5.0, "nag_alpha": 0.5, "nag_tau": 1.5}),
    ],
)
def test_patches_that_write_in_place_have_their_gradient(comfy, patch, settings):
    """Recomputed blocks do not notice what is written over: only the right gradient is the same in both ways."""
    rewards = []
    for checkpointing in (False, True):
        graph = Pocket()
        inputs = {"iterations": 3, "learning_rate": 20.0, "steps": 1, "checkpointing": checkpointing}
        model = graph.add(patch, model=graph.model, **settings)
        node = graph.optimised(graph.preference(), graph.history(), model=model, **inputs)
        graph.save(node)
        rewards.append(comfy.run(graph.graph).of(node)["rewards"][0])
    kept, recomputed = rewards
    # the same operations twice; only sums of gradients may come in another order
    assert recomputed == pytest.approx(kept, rel=1e-3)
    assert max(kept) > kept[0]


def test_an_image_that_is_not_the_one_that_was_judged_is_told(comfy):
    """EasyCache hands on what it kept of the noise before; core paints the chosen one without that."""
    graph = Pocket()
    cached = {"reuse_threshold": 1.0, "start_percent": 0.0, "end_percent": 1.0, "verbose": False}
    model = graph.add("EasyCache", model=graph.model, **cached)
    steps = {"iterations": 4, "num_initial_noises": 4, "steps": 4, "cfg": 1.0, "seed": 2}
    nodes = [graph.optimised(graph.preference(), graph.history(), model=m, **steps) for m in (model, graph.model)]
    for node in nodes:
        graph.save(node)
    result = comfy.run(graph.graph)
    told, quiet = (" ".join(result.of(node).get("notice", [])) for node in nodes)
    assert result.of(nodes[0])["best_iteration"] != [0], "nothing is kept yet in the first"
    assert "differs from the scored image" in told
    assert "EasyCache" in told
    assert "differs" not in quiet


def test_a_seed_below_zero_starts_from_several_noises_too(comfy):
    graph = Pocket()
    node = graph.optimised(
        graph.preference(),
        graph.history(),
        iterations=2,
        num_initial_noises=2,
        steps=1,
        seed=graph.add("PrimitiveInt", value=-1),
    )
    save = graph.save(node)
    assert comfy.run(graph.graph).tensor(save).shape == (1, 96, 96, 3)


def test_sigmas_take_the_place_of_steps_and_scheduler(comfy):
    graph = Pocket()
    sigmas = graph.add("SDTurboScheduler", model=graph.model, steps=2, denoise=1.0)
    node = graph.optimised(graph.preference(), graph.history(), sigmas=sigmas, iterations=2, steps=1, cfg=1.0)
    guider = graph.add("BasicGuider", model=graph.model, conditioning=graph.positive)
    euler = graph.add("KSamplerSelect", sampler_name="euler")
    inputs = {"guider": guider, "sampler": euler, "sigmas": sigmas, "latent_image": graph.latent}
    latent = graph.add("SamplerCustomAdvanced", noise=node[2], **inputs)
    ours, theirs = graph.save(node), graph.save(graph.add("VAEDecode", samples=latent, vae=graph.vae))
    result = comfy.run(graph.graph)
    assert np.array_equal(result.tensor(ours), result.tensor(theirs))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_gives_no_nan(comfy, precision):
    """The UNet and PrefDisc in half precision; the VAE's is the device's own."""
    graph = Pocket()
    name = {"fp16": "float16", "bf16": "bfloat16"}[precision]
    preference = graph.add("LoadPreferenceModel", checkpoint="pocket", precision=name)
    model = graph.add("ModelComputeDtype", model=graph.model, dtype=precision)
    node = graph.optimised(preference, graph.history(), model, steps=1, cfg=1.0, learning_rate=20.0)
    save = graph.save(node)
    result = comfy.run(graph.graph)
    rewards = result.of(node)["rewards"][0]
    assert np.isfinite(rewards).all()
    assert len(set(rewards)) > 1, "a gradient that vanished would leave the noise where it is"
    assert np.isfinite(result.tensor(save)).all()


def test_a_model_not_made_for_few_steps_is_named_and_painted_with(comfy, server):
    graph = Pocket()
    soft = graph.add("ProbeModel", model=graph.model, fault="soft")
    node = graph.optimised(graph.preference(), graph.history(), soft, iterations=1, steps=1, cfg=1.0)
    save = graph.save(node)
    result = comfy.run(graph.graph)
    (notice,) = result.of(node)["notice"]
    assert "probably not distilled for few steps" in notice
    assert notice in server.log.read_text()
    assert result.tensor(save).shape == (1, 96, 96, 3)
