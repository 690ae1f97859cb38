"""Gradients through core's sampling, where ComfyUI runs nodes: in inference mode."""

from dataclasses import replace

import pytest
import torch

from prefgen.reno import RenoConfig, optimise


@pytest.fixture
def sampling(pack):
    return pack("nodes.sampling.few_step")


@pytest.fixture
def few_steps(pocket, sampling):
    """A function that sets a graph up as nodes do: in inference mode, all of it."""

    def make(steps=2, cfg=2.0, batch=2, negative=True, recompute=False):
        import comfy.samplers

        with torch.inference_mode():
            model = pocket.load_model()
            torch.manual_seed(0)
            positive, empty = ([[torch.randn(1, 77, 192), {"pooled_output": torch.randn(1, 128)}]] for _ in range(2))
            latent = {"samples": torch.zeros(batch, 4, 12, 12)}
            sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)
            prompts = positive, empty if negative else None
            return sampling.FewSteps(model, *prompts, latent, sigmas, cfg, seed=7, recompute=recompute)

    return make


@torch.inference_mode()
def work_inside(sampling, graph, work):
    with sampling.gradients():
        return graph.differentiate(graph.seed_noise().clone(), work)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_differentiable_steps_are_cores_euler(sampling, few_steps, steps):
    graph = few_steps(steps)
    with torch.inference_mode():
        theirs = graph.paint(graph.seed_noise())
    ours = work_inside(sampling, graph, lambda noise, render: render(noise))
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)


def test_without_a_negative_the_positive_is_followed_alone(sampling, few_steps):
    graph = few_steps(cfg=1.0, negative=False)
    with torch.inference_mode():
        theirs = graph.paint(graph.seed_noise())
    assert torch.allclose(
        work_inside(sampling, graph, lambda noise, render: render(noise)), theirs, atol=1e-4, rtol=1e-4
    )


def test_cfg_without_a_negative_is_refused(sampling, few_steps):
    with pytest.raises(ValueError, match="no negative prompt"):
        few_steps(cfg=2.0, negative=False)


def test_a_latent_of_other_channels_is_refused(few_steps):
    graph = few_steps()
    graph.latent["samples"] = torch.ones(1, 16, 12, 12)
    with pytest.raises(ValueError, match="16 channels and the MODEL works on 4"):
        graph.seed_noise()


def test_the_gradient_is_the_finite_difference(sampling, few_steps):
    graph = few_steps(batch=1)
    torch.manual_seed(1)
    weight, direction = torch.randn(2, 1, 4, 12, 12)

    def slopes(noise, render):
        noise.requires_grad_()
        (grad,) = torch.autograd.grad((render(noise) * weight).sum(), noise)
        step = 1e-2 * direction
        with torch.no_grad():
            return (grad * direction).sum(), ((render(noise + step) - render(noise - step)) * weight).sum() / 2e-2

    gradient, difference = work_inside(sampling, graph, slopes)
    assert gradient.item() == pytest.approx(difference.item(), rel=0.01)


def test_images_keep_their_range_and_a_gradient_beyond_it(sampling, pocket):
    with torch.inference_mode():
        vae = pocket.load_vae()
    with sampling.gradients():
        latents = (3 * torch.randn(1, 4, 12, 12) / 0.13025).requires_grad_()
        images = sampling.load_decoder(vae)(latents)
        images.sum().backward()
    assert images.min() >= 0
    assert images.max() <= 1
    assert latents.grad.abs().sum() > 0


def test_a_batch_is_optimised_and_the_noise_reproduces_it(sampling, few_steps, pocket):
    graph = few_steps(steps=1, cfg=1.0)
    with torch.inference_mode():
        vae = pocket.load_vae()

    def work(noise, render):
        decode = sampling.load_decoder(vae)
        config = RenoConfig(iterations=4, learning_rate=20.0)
        return optimise(noise, lambda x: decode(render(x)), lambda images: images[:, 0].mean((1, 2)) * 100, config)

    result = work_inside(sampling, graph, work)
    assert (result.rewards > result.curve[0]).all()
    with torch.inference_mode():
        images = vae.decode(graph.paint(result.noise)).movedim(-1, 1)
    assert torch.allclose(images, result.images, atol=1e-4)


def test_checkpointing_keeps_little_and_gives_the_same_gradient(sampling, few_steps):
    """Beside patches that do something else in every block: a block that is run again must know which it is."""
    found = {}
    for recompute in (False, True):
        graph = few_steps(recompute=recompute)
        for place in [("input", 2), ("input", 4), ("middle", 0), ("output", 0), ("output", 2), ("output", 4)]:

            def patch(q, k, v, options):
                place, index = options["block"], options["block_index"]
                return q * (1 + 0.1 * place[1] + 0.3 * index + 0.7 * (place[0] == "output"))

            graph.model.set_model_attn2_replace(patch, "attn2", *place)

        def slope(noise, render):
            kept = {}

            def keep(tensor):
                kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                return tensor

            noise.requires_grad_()
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                painted = render(noise)
            return torch.autograd.grad(painted.square().sum(), noise)[0], sum(kept.values())

        found[recompute] = work_inside(sampling, graph, slope)
    (plain, kept), (recomputed, fewer) = found[False], found[True]
    assert torch.allclose(recomputed, plain, rtol=1e-4, atol=1e-4 * plain.abs().max())
    assert fewer < kept / 2


def test_the_model_is_left_as_it_was(sampling, few_steps):
    graph = few_steps(recompute=True)
    with torch.inference_mode():
        before = graph.paint(graph.seed_noise())
    work_inside(sampling, graph, lambda noise, render: torch.autograd.grad(render(noise.requires_grad_()).sum(), noise))
    assert not graph.model.object_patches
    with torch.inference_mode():
        assert torch.equal(graph.paint(graph.seed_noise()), before)


def test_attention_without_a_gradient_is_not_climbed_with(sampling, few_steps):
    """As SageAttention: an output that no gradient leaves, and no word of it. What others have put in its place too."""
    from comfy.ldm.modules.attention import attention_pytorch

    def silent(attention, *args, **kwargs):
        return attention(*args, **kwargs).detach()

    def attention_sage(*args, **kwargs):
        return attention_pytorch(*args, **kwargs).detach()

    def slope(noise, render):
        return torch.autograd.grad(render(noise.requires_grad_()).square().sum(), noise)[0]

    graph = few_steps()
    wanted = work_inside(sampling, graph, slope)
    graph.model.model_options["transformer_options"]["optimized_attention_override"] = silent
    assert torch.allclose(work_inside(sampling, graph, slope), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max())
    q = torch.randn(1, 4, 16, requires_grad=True)
    assert sampling.attention_with_gradient(attention_sage, q, q, q, 2).requires_grad


def test_a_controlnet_takes_part(sampling, few_steps):
    """Its weights come with the conditioning, made in inference mode like the MODEL's."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    graph = few_steps(batch=1)
    with torch.inference_mode():
        unet = {**graph.model.model.model_config.unet_config, "hint_channels": 3, "dtype": torch.float32}
        unet = {key: value for key, value in unet.items() if key not in ("out_channels", "image_model")}
        torch.manual_seed(2)
        net = comfy.cldm.cldm.ControlNet(**unet, operations=comfy.ops.disable_weight_init)
        for weight in net.parameters():
            torch.nn.init.normal_(weight, std=0.05)
        control = comfy.controlnet.ControlNet(net, load_device=torch.device("cpu"))
        control.set_cond_hint(torch.rand(1, 3, 96, 96), 1.0)
        positive = [
            [graph.positive[0][0], graph.positive[0][1] | {"control": control, "control_apply_to_uncond": True}]
        ]
        controlled = replace(graph, positive=positive)
        plain, theirs = graph.paint(graph.seed_noise()), controlled.paint(graph.seed_noise())
    assert (theirs - plain).abs().max() > 1e-3

    def slope(noise, render):
        painted = render(noise.requires_grad_())
        return painted.detach(), torch.autograd.grad(painted.square().sum(), noise)[0]

    ours, gradient = work_inside(sampling, controlled, slope)
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


def test_what_the_reward_needs_is_asked_for_together_with_the_decoder(sampling, pocket, monkeypatch):
    """A call for one alone may move the others out of a card that is nearly full."""
    import comfy.model_management

    with torch.inference_mode():
        vae, beside = pocket.load_vae(), pocket.load_model()
    asked, load = [], comfy.model_management.load_models_gpu
    monkeypatch.setattr(
        comfy.model_management, "load_models_gpu", lambda models, **given: (asked.append(models), load(models, **given))
    )
    with sampling.gradients():
        sampling.load_decoder(vae, beside=[beside])
    assert len(asked) == 1
    assert [patcher.model for patcher in asked[0]] == [vae.patcher.model, beside.model]
