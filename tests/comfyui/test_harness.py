"""The harness on stock nodes."""

import numpy as np
import pytest

from tests.comfyui import Graph, NodeError, PromptRefused


def test_a_stock_graph_runs_and_its_image_comes_back(comfy):
    graph = Graph()
    image = graph.add("EmptyImage", width=64, height=48, batch_size=2, color=0xFF8000)
    save = graph.add("SaveImage", images=image, filename_prefix="stock")
    pixels = comfy.run(graph).pixels(save)
    assert pixels.shape == (2, 48, 64, 3)
    assert np.allclose(pixels[0, 0, 0], [1, 128 / 255, 0], atol=0.01)


def test_an_uploaded_image_comes_back_bit_for_bit(comfy):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    graph = Graph()
    batch = graph.images([comfy.upload(picture), comfy.upload(picture[::-1])])
    save = graph.add("SaveImage", images=batch, filename_prefix="upload")
    first, second = comfy.run(graph).pictures(save)
    assert np.array_equal(np.asarray(first), picture)
    assert np.array_equal(np.asarray(second), picture[::-1])


def test_a_probe_gives_full_precision(comfy):
    graph = Graph()
    save = graph.add("ProbeSave", value=graph.add("ProbeImage", fault="nan", batch=2, size=8, seed=1))
    tensor = comfy.run(graph).tensor(save)
    assert tensor.shape == (2, 8, 8, 3)
    assert np.isnan(tensor).any()


def test_validation_says_which_node(comfy):
    graph = Graph()
    graph.add("SaveImage", images=graph.add("LoadImage", image="no such file.png"), filename_prefix="x")
    with pytest.raises(PromptRefused, match="LoadImage"):
        comfy.run(graph)


def test_a_node_error_carries_node_type_and_message_and_the_server_goes_on(comfy):
    graph = Graph()
    image = graph.add("ProbeImage", fault="rank 5", batch=1, size=8, seed=0)
    broken = graph.add("SaveImage", images=image, filename_prefix="broken")
    with pytest.raises(NodeError) as caught:
        comfy.run(graph)
    assert caught.value.node_id == broken.id
    assert caught.value.node_type == "SaveImage"
    assert caught.value.message
    test_a_stock_graph_runs_and_its_image_comes_back(comfy)
