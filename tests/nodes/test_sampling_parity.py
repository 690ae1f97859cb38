"""Training's painter is ComfyUI's: same prompt, seed and user give the same picture through stock sampling."""

import pytest
import torch

from prefgen.adapter import PreferenceAdapter, install_in_diffusers
from tests.nodes.test_branch_parity import ALIGNMENT, CONFIG, USER


def adapter_of(kind):
    torch.manual_seed(5)
    adapter = kind(CONFIG, ALIGNMENT)
    for block in adapter.blocks.values():
        block.to_v.weight.data.normal_(std=0.1)  # they start at zero, and would add nothing
    return adapter.requires_grad_(False).eval()


@pytest.mark.parametrize(("for_user", "few"), [(False, False), (True, False), (True, True)])
def test_the_painter_paints_what_ksampler_paints(for_user, few, pack):
    import comfy.sample

    from train.pocket.sampling import FewSteps, PocketGenerator, Sampling, seed_noise

    prompts, seeds = ["a lighthouse", "a cactus, neon colours"], [7, 8]
    settings, scheduler = (FewSteps(3), "simple") if few else (Sampling(3, 2.5), "normal")
    painter, adapter = PocketGenerator.load(), adapter_of(PreferenceAdapter)
    branch = install_in_diffusers(painter.unet, adapter)
    pairs = adapter.keys_values(adapter.user_tokens(USER)) if for_user else None
    both = pairs and {name: (k.expand(2, -1, -1), v.expand(2, -1, -1)) for name, (k, v) in pairs.items()}
    ours = painter.paint(prompts, seed_noise(seeds), settings, branch, both)
    with torch.inference_mode():
        generator = pack("nodes.pocket_generator")
        model, clip, vae = generator.load_model(), generator.load_clip(), generator.load_vae()
        if for_user:
            model = pack("nodes.attention").patch_user_branch(model, pairs)
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
