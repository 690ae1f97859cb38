"""Gradients through core's sampling, where ComfyUI runs nodes: in inference mode."""

from dataclasses import replace

import pytest
import torch

from prefgen.reno import RenoConfig, optimize_noise


@pytest.fixture
def few_step(pack):
    return pack("nodes.sampling.few_step")


@pytest.fixture
def gradients(pack):
    return pack("nodes.sampling.gradients")


@pytest.fixture
def load_decoder(pack):
    return pack("nodes.sampling.decoder").load_decoder


@pytest.fixture
def few_steps(pocket, few_step):
    """A function that sets a sampling up as nodes do: in inference mode, all of it."""

    def make(steps=2, cfg=2.0, batch=2, negative=True, checkpointing=False):
        import comfy.samplers

        with torch.inference_mode():
            model = pocket.load_model()
            torch.manual_seed(0)
            positive, empty = ([[torch.randn(1, 77, 192), {"pooled_output": torch.randn(1, 128)}]] for _ in range(2))
            latent = {"samples": torch.zeros(batch, 4, 12, 12)}
            sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)
            prompts = positive, empty if negative else None
            return few_step.FewStepSampling(model, *prompts, latent, sigmas, cfg, seed=7, checkpointing=checkpointing)

    return make


@torch.inference_mode()
def differentiate(gradients, sampling, callback):
    with gradients.enable_gradients():
        return sampling.differentiate(sampling.seed_noise().clone(), callback)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_differentiable_steps_are_cores_euler(gradients, few_steps, steps):
    sampling = few_steps(steps)
    with torch.inference_mode():
        theirs = sampling.sample(sampling.seed_noise())
    ours = differentiate(gradients, sampling, lambda noise, render: render(noise))
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)


def test_without_a_negative_the_positive_is_followed_alone(gradients, few_steps):
    sampling = few_steps(cfg=1.0, negative=False)
    with torch.inference_mode():
        theirs = sampling.sample(sampling.seed_noise())
    assert torch.allclose(
        differentiate(gradients, sampling, lambda noise, render: render(noise)), theirs, atol=1e-4, rtol=1e-4
    )


def test_cfg_without_a_negative_is_refused(gradients, few_steps):
    with pytest.raises(ValueError, match="expected 1 without a negative prompt"):
        few_steps(cfg=2.0, negative=False)


def test_a_prompt_of_another_text_encoder_is_refused(few_steps):
    sampling = few_steps()
    without_pooled = [[sampling.positive[0][0], {}]]
    with pytest.raises(ValueError, match="positive has no pooled_output; expected one"):
        replace(sampling, positive=without_pooled)
    with pytest.raises(ValueError, match="negative is 64 wide; expected 192"):
        replace(sampling, negative=[[torch.randn(1, 77, 64), {"pooled_output": torch.randn(1, 128)}]])


def test_a_latent_of_other_channels_is_refused(few_steps):
    sampling = few_steps()
    sampling.latent["samples"] = torch.ones(1, 16, 12, 12)
    with pytest.raises(ValueError, match="16 channels; expected 4"):
        sampling.seed_noise()


def test_the_gradient_is_the_finite_difference(gradients, few_steps):
    sampling = few_steps(batch=1)
    torch.manual_seed(1)
    weight, direction = torch.randn(2, 1, 4, 12, 12)

    def slopes(noise, render):
        noise.requires_grad_()
        (grad,) = torch.autograd.grad((render(noise) * weight).sum(), noise)
        step = 1e-2 * direction
        with torch.no_grad():
            return (grad * direction).sum(), ((render(noise + step) - render(noise - step)) * weight).sum() / 2e-2

    gradient, difference = differentiate(gradients, sampling, slopes)
    assert gradient.item() == pytest.approx(difference.item(), rel=0.01)


def test_images_keep_their_range_and_a_gradient_beyond_it(gradients, load_decoder, pocket):
    with torch.inference_mode():
        vae = pocket.load_vae()
    with gradients.enable_gradients():
        latents = (3 * torch.randn(1, 4, 12, 12) / 0.13025).requires_grad_()
        images = load_decoder(vae)(latents)
        images.sum().backward()
    assert images.min() >= 0
    assert images.max() <= 1
    assert latents.grad.abs().sum() > 0


def test_a_batch_is_optimised_and_the_noise_reproduces_it(gradients, load_decoder, few_steps, pocket):
    sampling = few_steps(steps=1, cfg=1.0)
    with torch.inference_mode():
        vae = pocket.load_vae()

    def optimize(noise, render):
        decode = load_decoder(vae)
        config = RenoConfig(iterations=4, learning_rate=20.0)
        return optimize_noise(
            noise, lambda x: decode(render(x)), lambda images: images[:, 0].mean((1, 2)) * 100, config
        )

    result = differentiate(gradients, sampling, optimize)
    assert (result.rewards > result.curve[0]).all()
    with torch.inference_mode():
        images = vae.decode(sampling.sample(result.noise)).movedim(-1, 1)
    assert torch.allclose(images, result.images, atol=1e-4)


def test_checkpointing_keeps_little_and_gives_the_same_gradient(gradients, few_steps):
    """Beside patches that do something else in every block: a block that is run again must know which it is."""
    found = {}
    for checkpointing in (False, True):
        sampling = few_steps(checkpointing=checkpointing)
        for place in [("input", 2), ("input", 4), ("middle", 0), ("output", 0), ("output", 2), ("output", 4)]:

            def patch(q, k, v, options):
                place, index = options["block"], options["block_index"]
                return q * (1 + 0.1 * place[1] + 0.3 * index + 0.7 * (place[0] == "output"))

            sampling.model.set_model_attn2_replace(patch, "attn2", *place)

        def slope(noise, render):
            kept = {}

            def keep(tensor):
                kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                return tensor

            noise.requires_grad_()
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                painted = render(noise)
            return torch.autograd.grad(painted.square().sum(), noise)[0], sum(kept.values())

        found[checkpointing] = differentiate(gradients, sampling, slope)
    (plain, kept), (recomputed, fewer) = found[False], found[True]
    assert torch.allclose(recomputed, plain, rtol=1e-4, atol=1e-4 * plain.abs().max())
    assert fewer < kept / 2


def test_the_model_is_left_as_it_was(gradients, few_steps):
    sampling = few_steps(checkpointing=True)
    with torch.inference_mode():
        before = sampling.sample(sampling.seed_noise())
    differentiate(
        gradients, sampling, lambda noise, render: torch.autograd.grad(render(noise.requires_grad_()).sum(), noise)
    )
    assert not sampling.model.object_patches
    with torch.inference_mode():
        assert torch.equal(sampling.sample(sampling.seed_noise()), before)


def test_attention_without_a_gradient_is_not_climbed_with(gradients, few_steps):
    """As SageAttention: an output that no gradient leaves, and no word of it. What others have put in its place too."""
    from comfy.ldm.modules.attention import attention_pytorch

    def silent(attention, *args, **kwargs):
        return attention(*args, **kwargs).detach()

    def attention_sage(*args, **kwargs):
        return attention_pytorch(*args, **kwargs).detach()

    def slope(noise, render):
        return torch.autograd.grad(render(noise.requires_grad_()).square().sum(), noise)[0]

    sampling = few_steps()
    wanted = differentiate(gradients, sampling, slope)
    sampling.model.model_options["transformer_options"]["optimized_attention_override"] = silent
    assert torch.allclose(differentiate(gradients, sampling, slope), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max())
    q = torch.randn(1, 4, 16, requires_grad=True)
    assert gradients.differentiable_attention(attention_sage, q, q, q, 2).requires_grad


def test_a_controlnet_takes_part(gradients, few_steps):
    """Its weights come with the conditioning, made in inference mode like the MODEL's."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    sampling = few_steps(batch=1)
    with torch.inference_mode():
        unet = {**sampling.model.model.model_config.unet_config, "hint_channels": 3, "dtype": torch.float32}
        unet = {key: value for key, value in unet.items() if key not in ("out_channels", "image_model")}
        torch.manual_seed(2)
        net = comfy.cldm.cldm.ControlNet(**unet, operations=comfy.ops.disable_weight_init)
        for weight in net.parameters():
            torch.nn.init.normal_(weight, std=0.05)
        control = comfy.controlnet.ControlNet(net, load_device=torch.device("cpu"))
        control.set_cond_hint(torch.rand(1, 3, 96, 96), 1.0)
        positive = [
            [sampling.positive[0][0], sampling.positive[0][1] | {"control": control, "control_apply_to_uncond": True}]
        ]
        controlled = replace(sampling, positive=positive)
        plain, theirs = sampling.sample(sampling.seed_noise()), controlled.sample(sampling.seed_noise())
    assert (theirs - plain).abs().max() > 1e-3

    def slope(noise, render):
        painted = render(noise.requires_grad_())
        return painted.detach(), torch.autograd.grad(painted.square().sum(), noise)[0]

    ours, gradient = differentiate(gradients, controlled, slope)
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


def test_what_the_reward_needs_is_asked_for_together_with_the_decoder(gradients, load_decoder, pocket, monkeypatch):
    """A call for one alone may move the others out of a card that is nearly full."""
    import comfy.model_management

    with torch.inference_mode():
        vae, beside = pocket.load_vae(), pocket.load_model()
    asked, load = [], comfy.model_management.load_models_gpu
    monkeypatch.setattr(
        comfy.model_management, "load_models_gpu", lambda models, **given: (asked.append(models), load(models, **given))
    )
    with gradients.enable_gradients():
        load_decoder(vae, reward_patchers=[beside])
    assert len(asked) == 1
    assert [patcher.model for patcher in asked[0]] == [vae.patcher.model, beside.model]
