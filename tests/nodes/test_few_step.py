"""A few-step LoRA on the pocket generator, loaded by core's LoraLoaderModelOnly: core paints with it what training did.

With random LoRAs in the shipped one's layout; the shipped one itself where it is there."""

import numpy as np
import pytest
import torch

from prefgen.pocket import shapes
from tests.comfyui import Node
from tests.nodes.graphs import Pocket
from tests.pocket_files import random_lora

RANDOM = "random_few_step.safetensors"
NOT_TRAINED = pytest.mark.skipif(
    not shapes.FEW_STEP_LORA.is_file(), reason="python -m train.pocket few_step has not been run yet"
)


@pytest.fixture
def random_file(server):
    """A random LoRA in the server's models/loras, and the pocket generator that runs it in diffusers through peft."""
    from train.pocket.sampling import PocketGenerator

    folder = server.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    generator = PocketGenerator.load()
    random_lora(generator.unet, folder / RANDOM)
    yield generator
    (folder / RANDOM).unlink()


def with_lora(graph: Pocket, name: str = RANDOM, strength: float = 1.0) -> Node:
    return graph.add("LoraLoaderModelOnly", model=graph.model, lora_name=name, strength_model=strength)


@pytest.mark.server
@pytest.mark.parametrize("steps", [1, 4])
def test_core_paints_with_it_what_peft_does(comfy, server, random_file, steps):
    from train.pocket.sampling import FewStepSampling, PocketGenerator, seed_noise

    graph, before = Pocket(), len(server.log.read_text())
    save = graph.save(graph.paint(with_lora(graph), seed=5, steps=steps, cfg=1.0))
    theirs = torch.from_numpy(comfy.run(graph.graph).tensor(save))[0].permute(2, 0, 1)
    prompts, noise = [graph.prompt], seed_noise([5])
    ours = random_file.paint(prompts, noise, FewStepSampling(steps))[0]
    plain = PocketGenerator.load().paint(prompts, noise, FewStepSampling(steps))[0]
    # A grey level: peft adds the LoRA's output and core its weights, in float32; and two implementations of the UNet.
    assert (theirs - ours).abs().max() < 1 / 255
    assert (plain - ours).abs().max() > 5 / 255, "the LoRA shows"
    assert "lora key not loaded" not in server.log.read_text()[before:]


@pytest.mark.server
def test_noise_is_optimised_through_it_and_paints_the_very_image(comfy, random_file):
    graph = Pocket(batch=2)
    model = with_lora(graph)
    least = {"steps": 1, "cfg": 1.0, "iterations": 4}
    node = graph.optimised(graph.preference(), graph.history(), model, **least)
    guider = graph.add("BasicGuider", model=model, conditioning=graph.positive)
    euler = graph.add("KSamplerSelect", sampler_name="euler")
    inputs = {"guider": guider, "sampler": euler, "sigmas": node[4], "latent_image": graph.latent}
    latent = graph.add("SamplerCustomAdvanced", noise=node[2], **inputs)
    ours, theirs = graph.save(node), graph.save(graph.add("VAEDecode", samples=latent, vae=graph.vae))
    first = graph.save(graph.paint(model, seed=1, steps=1, cfg=1.0))
    result = comfy.run(graph.graph)
    assert np.array_equal(result.tensor(ours), result.tensor(theirs))
    rewards = np.array(result.of(node)["rewards"])
    assert (rewards.max(1) > rewards[:, 0]).any()
    assert not np.array_equal(result.tensor(ours), result.tensor(first)), "it moved from KSampler's picture"


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_it_is_trained_where_cores_samplers_stand(pack, pocket, steps):
    """The noise levels and their times, of the `simple` scheduler; in one step `sgm_uniform` begins there too."""
    import comfy.samplers

    from train.pocket.sampling import FewStepSampling, timestep

    sampling = pocket.load_model().get_model_object("model_sampling")
    theirs = comfy.samplers.calculate_sigmas(sampling, "simple", steps)
    ours = FewStepSampling(steps).sigmas()
    assert torch.allclose(ours, theirs, rtol=1e-5)
    assert [timestep(sigma) for sigma in ours[:-1].tolist()] == sampling.timestep(theirs[:-1]).tolist()
    if steps == 1:
        uniform = comfy.samplers.calculate_sigmas(sampling, "sgm_uniform", 1)
        assert torch.allclose(ours, uniform, rtol=1e-5)


def test_the_packs_loras_are_offered_and_nothing_else_of_it(pack, pocket, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(pack("prefgen.pocket.shapes"), "LORA_FOLDER", tmp_path)
    paths, extensions = folder_paths.folder_names_and_paths["loras"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([*paths], extensions))
    own = folder_paths.get_filename_list("loras")
    (tmp_path / "one.safetensors").touch()
    pocket.register_lora_folder()
    assert folder_paths.get_filename_list("loras") == [*own, "one.safetensors"]
    assert folder_paths.get_folder_paths("loras")[0] != str(tmp_path), "a person's own come first"


@NOT_TRAINED
@pytest.mark.server
def test_the_shipped_one_is_in_the_list_and_paints_sharply_in_one_step(comfy):
    graph = Pocket(prompt="a lighthouse, neon colours, framed")
    one = graph.save(graph.paint(with_lora(graph, shapes.FEW_STEP_LORA.name), steps=1, cfg=1.0))
    soft = graph.save(graph.paint(steps=1, cfg=1.0))
    wanted = graph.save(graph.paint(steps=12, cfg=2.5))
    result = comfy.run(graph.graph)
    one, soft, wanted = (result.tensor(node) for node in (one, soft, wanted))
    assert np.abs(one - wanted).mean() < 0.7 * np.abs(soft - wanted).mean()

    def edges(image):
        return np.abs(np.diff(image, axis=2)).mean()

    assert edges(one) > 0.6 * edges(wanted)


@NOT_TRAINED
@pytest.mark.server
def test_the_shipped_one_draws_no_notice_about_soft_pictures(comfy):
    graph = Pocket()
    least = {"steps": 1, "cfg": 1.0, "iterations": 1}
    model = with_lora(graph, shapes.FEW_STEP_LORA.name)
    node = graph.optimised(graph.preference(), graph.history(), model, **least)
    graph.save(node)
    assert comfy.run(graph.graph).of(node)["notice"] == []
