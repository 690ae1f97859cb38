"""A picture keeps its codebook entries and its mask when batches are cut, on the real server."""

import numpy as np
import pytest

from tests.comfyui import NodeError
from tests.nodes.graphs import SIZE, Pocket

pytestmark = pytest.mark.server

STEPS, SPLIT = 4, 2
WINDOWS = {"context_overlap": 0, "context_schedule": "standard_static", "context_stride": 1, "closed_loop": False}
WINDOWS |= {"fuse_method": "pyramid", "dim": 0, "freenoise": False, "cond_retain_index_list": ""}
WINDOWS |= {"split_conds_to_windows": False, "latent_retain_index_list": ""}
ROUNDING = 2e-3  # a matrix product of other rows


class Stages:
    """A batch that is personalised and sampled in two stages, without added noise in the second."""

    def __init__(self, batch: int = 3, **adapter):
        self.pocket = Pocket(batch)
        preference = self.pocket.preference()
        embedding = self.pocket.add("EncodeUserHistory", preference_model=preference, history=self.pocket.history())
        self.plain, self.model = self.pocket.model, self.pocket.adapted(preference, embedding, **adapter)

    def sample(self, latent, first=True, last=True, seed=1, model=None):
        """KSamplerAdvanced from the start (`first`), or from the split on; to the end (`last`), or to the split."""
        given = {"model": model or self.model, "positive": self.pocket.positive, "negative": self.pocket.negative}
        given |= {"latent_image": latent, "noise_seed": seed, "steps": STEPS, "cfg": 2.0}
        given |= {"sampler_name": "euler", "scheduler": "simple", "start_at_step": 0 if first else SPLIT}
        given |= {"end_at_step": STEPS if last else SPLIT}
        given |= {"add_noise": "enable" if first else "disable", "return_with_leftover_noise": "disable"}
        return self.pocket.add("KSamplerAdvanced", **given | ({} if last else {"return_with_leftover_noise": "enable"}))

    def custom(self, latent, sigmas, noise):
        """SamplerCustomAdvanced."""
        given = {"positive": self.pocket.positive, "negative": self.pocket.negative}
        guider = self.pocket.add("CFGGuider", model=self.model, cfg=2.0, **given)
        sampler = self.pocket.add("KSamplerSelect", sampler_name="euler")
        chosen = {"noise": noise, "guider": guider, "sampler": sampler, "sigmas": sigmas, "latent_image": latent}
        return self.pocket.add("SamplerCustomAdvanced", **chosen)

    def cut(self, latent, index=2, length=1):
        return self.pocket.add("LatentFromBatch", samples=latent, batch_index=index, length=length)

    def latents(self, comfy, *nodes) -> list[np.ndarray]:
        saved = [self.pocket.save(node) for node in nodes]
        result = comfy.run(self.pocket.graph)
        return [result.tensor(node) for node in saved]


def same(found, expected) -> bool:
    return found.shape == expected.shape and np.abs(found - expected).max() < ROUNDING


@pytest.mark.parametrize("seed", [1, 0])
def test_a_second_stage_after_a_cut_continues_the_picture(comfy, seed):
    """Whatever its seed: it adds no noise."""
    stages = Stages()
    half = stages.sample(stages.pocket.latent, last=False)
    whole = stages.sample(half, first=False)
    cut = stages.sample(stages.cut(half), first=False, seed=seed)
    repeated = stages.sample(
        stages.pocket.add("RepeatLatentBatch", samples=stages.cut(half), amount=2), first=False, seed=seed
    )
    at_once = stages.sample(stages.pocket.latent)
    whole, cut, repeated, at_once = stages.latents(comfy, whole, cut, repeated, at_once)
    assert same(whole, at_once)
    assert same(cut[0], whole[2])
    assert same(repeated, whole[[2, 2]])
    assert not same(whole[0], whole[2])


def test_a_second_stage_after_rebatching_continues_the_pictures(comfy):
    stages = Stages()
    half = stages.sample(stages.pocket.latent, last=False)
    whole = stages.sample(half, first=False)
    apart = stages.sample(stages.pocket.add("RebatchLatents", latents=half, batch_size=1), first=False, seed=0)
    together = stages.pocket.add("RebatchLatents", latents=apart, batch_size=3)
    whole, together = stages.latents(comfy, whole, together)
    assert same(together, whole)


@pytest.mark.parametrize("output", [0, 1])
def test_split_sigmas_and_disabled_noise_continue_the_picture(comfy, output):
    stages = Stages()
    sigmas = stages.pocket.add("BasicScheduler", model=stages.plain, scheduler="simple", steps=STEPS, denoise=1.0)
    split = stages.pocket.add("SplitSigmas", sigmas=sigmas, step=SPLIT)
    noise, nothing = stages.pocket.add("RandomNoise", noise_seed=5), stages.pocket.add("DisableNoise")
    half = stages.custom(stages.pocket.latent, split[0], noise)[output]
    whole = stages.custom(half, split[1], nothing)
    cut = stages.custom(stages.cut(half, 1, 2), split[1], nothing)
    at_once = stages.custom(stages.pocket.latent, sigmas, noise)
    whole, cut, at_once = stages.latents(comfy, whole, cut, at_once)
    assert same(cut, whole[1:])
    assert same(whole, at_once) == (output == 0)


def test_latents_of_unknown_origin_are_painted_alike_in_any_batch(comfy):
    """A plain MODEL painted them, so that no picture is known."""
    stages = Stages()
    half = stages.sample(stages.pocket.latent, last=False, model=stages.plain)
    whole = stages.sample(half, first=False)
    cut = stages.sample(stages.cut(half), first=False)
    whole, cut = stages.latents(comfy, whole, cut)
    assert same(cut[0], whole[2])


def test_a_picture_far_back_in_a_batch_keeps_its_entries(comfy):
    stages = Stages(batch=66)
    whole = stages.cut(stages.sample(stages.pocket.latent, seed=2, last=False), 65)
    alone = stages.sample(stages.cut(stages.pocket.latent, 65), seed=2, last=False)
    whole, alone = stages.latents(comfy, whole, alone)
    assert same(alone, whole)


def test_context_windows_keep_every_frames_entries(comfy):
    """Windows of three frames that overlap by none are three batches."""
    stages = Stages(batch=6)
    for fix in (False, True):
        windows = stages.pocket.add(
            "ContextWindowsManual", model=stages.model, context_length=3, causal_window_fix=fix, **WINDOWS
        )
        whole = stages.sample(stages.pocket.latent)
        windowed = stages.sample(stages.pocket.latent, model=windows)
        whole, windowed = stages.latents(comfy, whole, windowed)
        assert same(windowed, whole)


def frames_of_masks(pocket: Pocket, values) -> object:
    masks = [pocket.add("SolidMask", value=value, width=SIZE, height=SIZE) for value in values]
    images = [pocket.add("MaskToImage", mask=mask) for mask in masks]
    batch = images[0]
    for image in images[1:]:
        batch = pocket.add("ImageBatch", image1=batch, image2=image)
    return pocket.add("ImageToMask", image=batch, channel="red")


def with_masks(values) -> Stages:
    stages = Stages(batch=len(values))
    node = stages.pocket.graph.nodes[stages.model.id]
    masks = frames_of_masks(stages.pocket, values)
    node["inputs"]["mask"] = masks[0]
    return stages


def test_a_mask_for_each_frame_follows_its_frame(comfy):
    stages = with_masks([1.0, 0.0, 1.0, 0.0])
    whole = stages.sample(stages.pocket.latent)
    plain = stages.sample(stages.pocket.latent, model=stages.plain)
    cut = stages.sample(stages.cut(stages.pocket.latent, 1, 2))
    half = stages.sample(stages.pocket.latent, last=False)
    continued = stages.sample(stages.cut(half, 3, 1), first=False, seed=0)
    rebatched = stages.sample(stages.pocket.add("RebatchLatents", latents=stages.pocket.latent, batch_size=2))
    rebatched = stages.pocket.add("RebatchLatents", latents=rebatched, batch_size=4)
    windows = {"context_length": 2, "causal_window_fix": False} | WINDOWS
    windows = stages.pocket.add("ContextWindowsManual", model=stages.model, **windows)
    windowed = stages.sample(stages.pocket.latent, model=windows)
    whole, plain, cut, continued, rebatched, windowed = stages.latents(
        comfy, whole, plain, cut, continued, rebatched, windowed
    )
    assert same(whole[[1, 3]], plain[[1, 3]])
    assert not same(whole[0], plain[0])
    assert same(cut, whole[1:3])
    assert same(continued[0], whole[3])
    assert same(rebatched, whole)
    assert same(windowed, whole)


def test_a_mask_of_the_whole_picture_over_a_crop_of_it_is_refused(comfy):
    stages = Stages()
    mask = stages.pocket.add("SolidMask", value=1.0, width=2 * SIZE, height=2 * SIZE)
    stages.pocket.graph.nodes[stages.model.id]["inputs"]["mask"] = mask[0]
    with pytest.raises(NodeError, match=r"mask is 192 x 192 pixels, larger than the sampled image, 96 x 96"):
        stages.latents(comfy, stages.sample(stages.pocket.latent))


@pytest.mark.parametrize("size", [(64, 64), (96, 96), (64, 128)])
def test_a_black_mask_leaves_the_model_unchanged_and_the_node_says_so(comfy, size):
    """Load Image outputs one of 64 x 64 for an image without transparency, whatever the image's size."""
    stages = Stages(batch=1)
    mask = stages.pocket.add("SolidMask", value=0.0, width=size[0], height=size[1])
    stages.pocket.graph.nodes[stages.model.id]["inputs"]["mask"] = mask[0]
    found = stages.pocket.save(stages.sample(stages.pocket.latent))
    plain = stages.pocket.save(stages.sample(stages.pocket.latent, model=stages.plain))
    result = comfy.run(stages.pocket.graph)
    assert np.array_equal(result.tensor(found), result.tensor(plain))
    (text,) = result.of(stages.model)["text"]
    assert text.startswith("The mask is black, so nothing is personalised")


def test_the_optimised_noise_is_scored_and_painted_as_the_same_picture(comfy):
    """On a latent from a batch, and again from the noise, and for one of two optimised images."""
    stages = Stages()
    pocket = stages.pocket
    taken = stages.cut(pocket.latent, 1, 2)
    preference = pocket.preference()
    reno = pocket.optimised(preference, pocket.history(), stages.model, latent=taken, seed=3)
    again = stages.custom(taken, reno[4], reno[2])
    one = stages.custom(stages.cut(taken, 1, 1), reno[4], reno[2])
    again, one = (pocket.save(pocket.add("VAEDecode", samples=node, vae=pocket.vae)) for node in (again, one))
    painted = pocket.save(reno)
    scores = pocket.add(
        "PreferenceScore", preference_model=preference, history=pocket.history(), images=reno, prompt=pocket.prompt
    )
    result = comfy.run(pocket.graph)
    report = result.of(reno)
    assert not report["notice"]
    assert np.allclose(result.of(scores)["scores"], report["best"], atol=2e-3)
    assert same(result.tensor(again), result.tensor(painted))
    assert same(result.tensor(one), result.tensor(painted)[1:])
