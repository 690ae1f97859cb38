"""Bad input to ReNOOptimize: one clear message, and a server that goes on."""

import pytest

from tests.comfyui import NodeError, PromptRefused
from tests.nodes.graphs import SIZE, Pocket

pytestmark = pytest.mark.server


def optimising(graph: Pocket, **settings):
    """ReNOOptimize in one iteration and one step, and someone who wants its image."""
    least = {"iterations": 1, "steps": 1, "cfg": 1.0}
    node = graph.optimised(graph.preference(), graph.history(pairs=1), **least | settings)
    return graph.save(node)


def refused(comfy, graph: Pocket, *expected: str, **settings) -> None:
    """The node fails, its message short and holding all of `expected`; then the server paints as before."""
    optimising(graph, **settings)
    with pytest.raises(NodeError) as caught:
        comfy.run(graph.graph)
    assert caught.value.node_type == "ReNOOptimize"
    for text in expected:
        assert text in caught.value.message
    assert len(caught.value.message) < 800  # with three folders in it
    healthy = Pocket()
    save = optimising(healthy)
    assert comfy.run(healthy.graph).tensor(save).shape == (1, SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("setting", "value"), [("iterations", 0), ("clip_weight", -1.0), ("learning_rate", -1.0), ("patience", -1)]
)
def test_numbers_out_of_range_are_refused_before_anything_runs(comfy, setting, value):
    graph = Pocket()
    optimising(graph, **{setting: value})
    with pytest.raises(PromptRefused, match=f"(?s)smaller than min.*{setting}"):
        comfy.run(graph.graph)


@pytest.mark.parametrize(
    ("setting", "primitive", "value", "expected"),
    [
        ("iterations", "PrimitiveInt", 0, ["iterations is 0", "at least 1"]),
        ("hps_weight", "PrimitiveFloat", -2.0, ["hps_weight is -2", "at least 0"]),
        ("preference_weight", "PrimitiveFloat", 0.0, ["No reward weight is above 0"]),
        ("steps", "PrimitiveInt", 0, ["steps is 0", "at least 1"]),
    ],
)
def test_numbers_that_come_from_another_node_are_refused_too(comfy, setting, primitive, value, expected):
    """The server checks the range of no input that is linked."""
    graph = Pocket()
    refused(comfy, graph, *expected, **{setting: graph.add(primitive, value=value)})


def test_more_initial_noises_than_iterations(comfy):
    refused(
        comfy,
        Pocket(),
        "num_initial_noises is 5",
        "at most 1. Each of them takes one iteration",
        num_initial_noises=5,
    )


def test_a_latent_of_another_channel_count(comfy):
    graph = Pocket()
    pixels = graph.add("ProbeImage", fault="none", batch=1, size=12, seed=0)
    latent = graph.add("VAEEncode", pixels=pixels, vae=graph.add("VAELoader", vae_name="pixel_space"))
    refused(comfy, graph, "latent has 3 channels; expected 4", "Encode the image with", latent=latent)


def test_a_vae_that_does_not_fit(comfy):
    graph = Pocket()
    vae = graph.add("VAELoader", vae_name="pixel_space")
    refused(comfy, graph, "VAE decodes latents of 3 channels", "expected 4", "Connect its VAE", vae=vae)


def test_sigmas_without_a_step(comfy):
    graph = Pocket()
    none = graph.add("BasicScheduler", model=graph.model, scheduler="simple", steps=2, denoise=0.0)
    refused(comfy, graph, "sigmas is []; expected at least 2", "Set the scheduler's steps", sigmas=none)


@pytest.mark.parametrize("sigmas", ["14.6, 0, 0", "0, 14.6"])
def test_sigmas_that_euler_would_divide_by(comfy, sigmas):
    graph = Pocket()
    given = graph.add("ManualSigmas", sigmas=sigmas)
    refused(comfy, graph, "sigmas is [", "0 only at the end", sigmas=given)


def test_a_video_latent(comfy):
    graph = Pocket()
    video = graph.add("EmptyHunyuanLatentVideo", width=96, height=96, length=1, batch_size=1)
    refused(comfy, graph, "latent has shape (1, 16, 1, 12, 12)", "expected (batch, channels", latent=video)


def test_a_prompt_whose_weight_is_beyond_numbers(comfy):
    graph = Pocket()
    prompt = graph.add("CLIPTextEncode", clip=graph.clip, text="(a cactus:1e39)")
    refused(comfy, graph, "generated NaN or infinite", "prompts", positive=prompt)


def test_a_cfg_that_is_no_number(comfy):
    graph = Pocket()
    optimising(graph, cfg="nan")  # core makes a number of it
    with pytest.raises(NodeError, match="cfg is nan; expected a finite number"):
        comfy.run(graph.graph)


def test_a_patch_that_keeps_what_an_earlier_step_made(comfy):
    graph = Pocket()
    inputs = {"eta": 1.0, "norm_threshold": 5.0, "momentum": -0.75}
    model = graph.add("APG", model=graph.model, **inputs)
    refused(
        comfy, graph, "back into an earlier iteration", "APG", "Remove the patch", model=model, cfg=2.0, iterations=3
    )


def test_a_reward_whose_files_are_missing(comfy, server):
    folder = server.base / "models" / "prefgen" / "rewards" / "hps"
    expected = ["reward hps needs model.safetensors", str(folder), "Hugging Face cache", "set the weight"]
    refused(comfy, Pocket(), *expected, hps_weight=1.0)


def test_out_of_memory(comfy):
    """A real allocator's refusal, in the UNet: the message says what to lower."""
    graph = Pocket()
    model = graph.add("ProbeModel", model=graph.model, fault="out of memory")
    expected = ["not enough memory for optimising noise of 1 x 4 x 12 x 12 in 1 steps", "Lower the latent's", "batch"]
    refused(comfy, graph, *expected, "checkpointing", model=model)
