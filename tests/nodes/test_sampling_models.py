"""Gradients through core's sampling of what people have few-step models of beside SDXL: SD-Turbo's architecture and
FLUX-schnell's, as small as core's classes let them be, with random weights."""

from inspect import signature

import pytest
import torch

FLUX = {
    **{"image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 16, "context_in_dim": 32},
    **{"hidden_size": 64, "mlp_ratio": 2.0, "num_heads": 2, "depth": 2, "depth_single_blocks": 2, "txt_ids_dims": []},
    **{"axes_dim": [8, 12, 12], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": False},
    "yak_mlp": False,
}
SD2 = {
    **{"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1]},
    **{"channel_mult": [1, 2], "transformer_depth": [0, 1], "transformer_depth_output": [0, 0, 1, 1]},
    **{"transformer_depth_middle": 1, "context_dim": 32, "num_head_channels": 16, "num_heads": -1},
    **{"use_spatial_transformer": True, "use_linear_in_transformer": True, "adm_in_channels": None, "legacy": False},
}


def tiny(name):
    """A MODEL and a positive prompt, made as nodes make them."""
    import comfy.model_patcher
    import comfy.supported_models

    config = getattr(comfy.supported_models, name)(dict(FLUX if name == "FluxSchnell" else SD2))
    config.set_inference_dtype(torch.float32, None)
    device = torch.device("cpu")
    model = config.get_model({}, "", device)
    torch.manual_seed(0)
    for parameter in model.diffusion_model.parameters():
        parameter.data.normal_(std=0.1)
    prompt = [[torch.randn(1, 5, 32), {"pooled_output": torch.randn(1, 16)}]]
    return comfy.model_patcher.ModelPatcher(model, device, device), prompt


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("name", ["SD20", "FluxSchnell"])
def test_the_gradient_is_the_finite_difference(pack, name, checkpointing):
    few_step, gradients = pack("nodes.sampling.few_step"), pack("nodes.sampling.gradients")
    import comfy.samplers

    with torch.inference_mode():
        model, prompt = tiny(name)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 2)
        latent = {"samples": torch.zeros(1, 4, 8, 8)}  # as EmptyLatentImage gives it, whatever the MODEL's channels
        sampling = few_step.FewStepSampling(model, prompt, None, latent, sigmas, checkpointing=checkpointing)

        def slopes(noise, render):
            torch.manual_seed(1)
            weight, direction = torch.randn(2, *noise.shape)
            noise.requires_grad_()
            (grad,) = torch.autograd.grad((render(noise) * weight).sum(), noise)
            step = 1e-2 * direction
            with torch.no_grad():
                return (grad * direction).sum(), ((render(noise + step) - render(noise - step)) * weight).sum() / 2e-2

        with gradients.enable_gradients():
            gradient, difference = sampling.differentiate(sampling.seed_noise().clone(), slopes)
    assert gradient.abs() > 0.1
    assert gradient.item() == pytest.approx(difference.item(), rel=0.02)  # float32, and a step that is not small


def test_an_empty_latent_of_another_vae_becomes_as_large_as_the_models(pack):
    """Core's empty latents say for which VAE they are as large as they are; a picture of 256 pixels stays one."""
    few_step = pack("nodes.sampling.few_step")
    import comfy.sample

    if "downscale_ratio_spacial" not in signature(comfy.sample.fix_empty_latent_channels).parameters:
        pytest.skip("the empty latents of this ComfyUI do not say for which VAE they are")
    with torch.inference_mode():
        model, prompt = tiny("FluxSchnell")
        sigmas = torch.tensor([1.0, 0.0])
        empty = {"samples": torch.zeros(1, 128, 16, 16), "downscale_ratio_spacial": 16}
        assert few_step.FewStepSampling(model, prompt, None, empty, sigmas).initial_latent.shape == (1, 16, 32, 32)
        # What somebody painted is not stretched, and is told to be another VAE's.
        painted = empty | {"samples": torch.ones(1, 128, 16, 16)}
        with pytest.raises(few_step.ModelError, match="128 channels; expected 16"):
            _ = few_step.FewStepSampling(model, prompt, None, painted, sigmas).initial_latent


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_the_gradient_through_an_sdxl_like_decoder_is_the_finite_difference(pack, checkpointing):
    """AutoencoderKL, the class of every published SDXL, SD and Flux VAE; the pocket one is a TAESD."""
    gradients, decoder = pack("nodes.sampling.gradients"), pack("nodes.sampling.decoder")
    import comfy.ldm.models.autoencoder
    import comfy.sd

    shape = {"double_z": True, "z_channels": 4, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32}
    shape |= {"ch_mult": [1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}
    with torch.inference_mode():
        torch.manual_seed(0)
        model = comfy.ldm.models.autoencoder.AutoencoderKL(embed_dim=4, ddconfig=shape)
        for parameter in model.parameters():
            parameter.data.normal_(std=0.1)
        vae = comfy.sd.VAE(sd=model.state_dict(), config={"params": {"ddconfig": shape, "embed_dim": 4}})
        latents, direction = torch.randn(2, 1, 4, 8, 8)
        with gradients.enable_gradients():
            decode = decoder.load_decoder(vae, checkpointing)
            latents, step = latents.clone().requires_grad_(), 1e-2 * direction.clone()
            weight = torch.randn(1, 3, 16, 16)

            def total(latents):
                return (decode(latents).double() * weight).sum()  # sums in float32 would lose the difference

            (grad,) = torch.autograd.grad(total(latents), latents)
            rise = total(latents + step) - total(latents - step)
            images = decode(latents)
    assert 0 < images.min() < images.max() < 1, "beyond 0 and 1 images are clamped, and their gradient is not"
    assert (grad * direction).sum().item() == pytest.approx(rise.item() / 2e-2, rel=0.02)
