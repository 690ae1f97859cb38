"""Training's painter is ComfyUI's: same prompt, seed and user give the same picture through stock sampling."""

import dataclasses

import pytest
import torch

from prefgen.adapter import PreferenceAdapter, UserParts, install_in_diffusers
from tests.nodes.test_branch_parity import ALIGNMENT, CONFIG, USER

CODEBOOK = {"fusion": "codebook", "codebook_sizes": (4, 6)}


def adapter_of(kind, **changes):
    torch.manual_seed(5)
    adapter = kind(dataclasses.replace(CONFIG, **changes), ALIGNMENT)
    for block in adapter.blocks.values():
        block.to_v.weight.data.normal_(std=0.1)  # they start at zero, and would add nothing
    return adapter.requires_grad_(False).eval()


@pytest.mark.parametrize(
    ("for_user", "few", "changes"), [(False, False, {}), (True, False, {}), (True, True, {}), (True, False, CODEBOOK)]
)
def test_the_painter_paints_what_ksampler_paints(for_user, few, changes, pack):
    """The user of two pictures, who with codebooks samples other entries for each, by its seed."""
    import comfy.sample

    from train.pocket.sampling import FewStepSampling, PocketGenerator, Sampling, codebook_noise, seed_noise

    prompts, seeds = ["a lighthouse", "a cactus, neon colours"], [7, 8]
    settings, scheduler = (FewStepSampling(3), "simple") if few else (Sampling(3, 2.5), "normal")
    painter, adapter = PocketGenerator.load(), adapter_of(PreferenceAdapter, **changes)
    branch = install_in_diffusers(painter.unet, adapter)
    users = UserParts(*(part.expand(2, -1) for part in USER))
    both = adapter.for_users(users, noise=codebook_noise(adapter, seeds)) if for_user else None
    ours = painter.paint(prompts, seed_noise(seeds), settings, branch, both)
    with torch.inference_mode():
        generator = pack("nodes.pocket_generator")
        model, clip, vae = generator.load_model(), generator.load_clip(), generator.load_vae()
        if for_user:
            codebook = adapter.codebook_logits(USER) if changes else None
            patch = pack("nodes.attention.unet").patch_user_attention
            model = patch(model, adapter.for_users(USER), codebook=codebook, variety=1.0)
        empty = clip.encode_from_tokens_scheduled(clip.tokenize(""))
        for prompt, seed, ours_of in zip(prompts, seeds, ours, strict=True):
            latent = torch.zeros(1, 4, 12, 12)
            noise = comfy.sample.prepare_noise(latent, seed)
            positive = clip.encode_from_tokens_scheduled(clip.tokenize(prompt))
            how = (settings.steps, settings.cfg, "euler", scheduler, positive, empty, latent)
            samples = comfy.sample.sample(model, noise, *how, disable_pbar=True, seed=seed)
            theirs = vae.decode(samples)[0].permute(2, 0, 1)
            # Half a grey level: two implementations in float32, whose difference guidance and steps multiply.
            assert (theirs - ours_of).abs().max() < 0.5 / 255
    if for_user:
        plain = painter.paint(prompts, seed_noise(seeds), settings)
        assert (plain - ours).abs().max() > 0.01, "the user shows"
