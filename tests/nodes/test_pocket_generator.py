"""LoadPocketGenerator through stock nodes on the real server."""

import numpy as np
import pytest

from tests.comfyui import Client, running_server
from tests.nodes.graphs import Pocket


@pytest.mark.server
def test_the_pocket_generator_paints_through_stock_nodes(comfy):
    graph = Pocket(batch=2)
    save = graph.add("SaveImage", images=graph.paint(), filename_prefix="pocket")
    pixels = comfy.run(graph.graph).pixels(save)
    assert pixels.shape == (2, 96, 96, 3)
    assert np.abs(pixels[0] - pixels[1]).max() > 0.05


@pytest.mark.server
def test_the_same_seed_paints_the_same_image_and_another_another(comfy):
    images = []
    for seed in (1, 2, 1):
        graph = Pocket()
        save = graph.save(graph.paint(seed=seed))
        images.append(comfy.run(graph.graph).tensor(save))
        comfy.free()
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])


@pytest.mark.server
def test_images_go_back_into_latents(comfy):
    graph = Pocket()
    image = graph.paint()
    latent = graph.add("VAEEncode", pixels=image, vae=graph.vae)
    save = graph.save(latent)
    assert comfy.run(graph.graph).tensor(save).shape == (1, 4, 12, 12)


@pytest.mark.server
def test_the_precision_follows_comfyuis_flags(comfy):
    graph = Pocket()
    save = graph.save(graph.paint())
    expected = comfy.run(graph.graph).tensor(save)
    with running_server(arguments=["--cpu", "--bf16-unet", "--fp8_e4m3fn-text-enc"]) as server:
        image = Client(server).run(graph.graph).tensor(save)
        log = server.log.read_text()
    assert "model weight dtype torch.bfloat16" in log
    assert "dtype: torch.float8_e4m3fn" in log
    assert 0 < np.abs(image - expected).mean() < 0.02
