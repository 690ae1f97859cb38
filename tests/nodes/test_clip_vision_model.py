"""Preference Model from CLIP Vision on the real server: it scores, encodes and optimises by ratings alone."""

import numpy as np
import pytest
import torch

from prefgen.pocket.shapes import UNET
from tests.nodes import profiles as helpers
from tests.nodes.graphs import Pocket
from tests.nodes.profiles import ask
from tests.prefgen import ip_adapters

pytestmark = pytest.mark.server


def clip_model(pocket):
    """Add the pocket CLIP_VISION and its preference model."""
    return pocket.add("PreferenceModelFromClipVision", clip_vision=pocket.add("ProbePocketClipVision"))


def test_it_ranks_liked_images_above_disliked_ones(comfy):
    pocket = Pocket()
    history = pocket.add("LoadUserHistory", user="ada")
    scores = [
        pocket.add("PreferenceScore", preference_model=clip_model(pocket), history=history, images=images, prompt="")
        for images in (history[1], history[2])
    ]
    result = comfy.run(pocket.graph)
    liked, disliked = (result.of(node)["scores"] for node in scores)
    assert np.mean(liked) > np.mean(disliked) + 0.2


def test_it_paints_with_an_ip_adapter_and_pushes_away(comfy, server):
    path = ip_adapters.write(server.base / "models" / "ipadapter" / "clip_width.safetensors", UNET, width=128)
    try:
        pocket = Pocket(batch=2)
        history = pocket.add("LoadUserHistory", user="bo")
        embedding = pocket.add("EncodeUserHistory", preference_model=clip_model(pocket), history=history)
        adapter = pocket.add("PreferenceModelFromIPAdapter", file=path.name)
        pictures = [
            pocket.save(pocket.paint(model))
            for model in (
                pocket.model,
                pocket.adapted(adapter, embedding),
                pocket.adapted(adapter, embedding, dislikes="push away"),
            )
        ]
        result = comfy.run(pocket.graph)
        plain, personalised, pushed = (result.tensor(node) for node in pictures)
    finally:
        path.unlink()
    assert np.abs(plain - personalised).max() > 0.01
    assert np.abs(pushed - personalised).max() > 0.01


def test_noise_optimisation_raises_its_score(comfy):
    pocket = Pocket()
    optimised = pocket.optimised(
        clip_model(pocket), pocket.add("LoadUserHistory", user="ada"), iterations=12, steps=1, cfg=1.0, negative=None
    )
    pocket.save(optimised)
    result = comfy.run(pocket.graph)
    rewards = result.of(optimised)["rewards"][0]
    assert max(rewards) > rewards[0] + 0.02


def test_every_rating_changes_its_scores(comfy):
    """Only one pair is selected, but a rating of another image counts, too."""
    recorded = helpers.record(comfy, "clip ratings", seed=3, liked="0", disliked="1")
    route = "/prefgen/profiles/clip%20ratings"

    def score():
        pocket = Pocket()
        history = pocket.add("LoadUserHistory", user="clip ratings", max_pairs=1)
        images = pocket.add("ProbeImage", fault="none", batch=1, size=96, seed=0)
        node = pocket.add(
            "PreferenceScore", preference_model=clip_model(pocket), history=history, images=images, prompt=""
        )
        return comfy.run(pocket.graph).of(node)["scores"][0]

    before = score()
    assert ask(comfy.server, "POST", f"{route}/ratings", {"image": recorded["digests"][2], "liked": True}).status == 200
    assert score() != before
    ask(comfy.server, "DELETE", route)


def test_show_user_profile_predicts_ratings_without_the_predicted_image(comfy):
    pocket = Pocket()
    node = pocket.add("ShowUserProfile", user="ada", preference_model=clip_model(pocket), images=8)
    output = comfy.run(pocket.graph).of(node)
    assert len(output["scores"]) == 16
    assert 0.5 < output["told_apart"][0] < 1, "a head that had seen the images would be right in all"
    assert output["alike"] == []
    assert "Similar users need a PrefDisc checkpoint." in output["text"][1]


def test_the_differentiable_encoder_is_cores(pack):
    """The gradient passes core's rounding to 8 bits, but the values are core's."""
    encoder = pack("nodes.load_clip_vision_model").clip_vision_encoder
    from tests.comfyui.probes import ProbePocketClipVision  # imports ComfyUI

    encode = encoder(*ProbePocketClipVision().run())
    images = torch.rand(2, 3, 80, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = encode(images)
    leaf = images.clone().requires_grad_()
    embeddings = encode(leaf)
    assert torch.allclose(embeddings, expected, atol=1e-5)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((embeddings * direction).sum(), leaf)
    step = 0.02 * gradient / gradient.abs().max()
    with torch.no_grad():
        rise = ((encode(images + step) - encode(images - step)) * direction).sum()
    assert rise.item() == pytest.approx(2 * (gradient * step).sum().item(), rel=0.2)
