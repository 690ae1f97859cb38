"""The shipped pocket weights mean the same to core as they did to training."""

import pytest
import torch

from prefgen.pocket import shapes

PROMPTS = ["", "a lighthouse", "a cactus, neon colours"]


@pytest.fixture(scope="module")
def generator(pack):
    return pack("nodes.pocket_generator")


def test_core_reads_prompts_as_training_did(generator):
    from train.pocket import text

    with torch.inference_mode():
        clip = generator.load_clip()
        context, pooled = text.load()(PROMPTS)
        for row, prompt in enumerate(PROMPTS):
            ((states, about),) = clip.encode_from_tokens_scheduled(clip.tokenize(prompt))
            assert torch.allclose(states[0], context[row], atol=1e-3)
            assert torch.allclose(about["pooled_output"][0], pooled[row], atol=1e-3)


def test_core_decodes_latents_as_training_did(generator):
    from train.pocket import vae

    torch.manual_seed(0)
    latents = torch.randn(1, 4, shapes.LATENT_SIZE, shapes.LATENT_SIZE)
    with torch.inference_mode():
        ours = vae.load().decode(latents).clamp(0, 1)
        theirs = generator.load_vae().decode(latents / shapes.SDXL_LATENT_SCALE).movedim(-1, 1)
    assert torch.allclose(theirs, ours, atol=1e-3)
