"""The adapter beside core's patches of a MODEL, in a batch and with a mask, on the real server."""

import numpy as np
import pytest
import torch

from tests.comfyui import NodeError
from tests.nodes.graphs import SIZE, Pocket

pytestmark = pytest.mark.server

SHRINK = {"block_number": 3, "downscale_factor": 2.0, "start_percent": 0.0, "end_percent": 1.0}
SHRINK |= {"downscale_after_skip": True, "downscale_method": "bicubic", "upscale_method": "bicubic"}
PATCHES = {
    "PatchModelAddDownscale": SHRINK,
    "FreeU": {"b1": 1.1, "b2": 1.2, "s1": 0.9, "s2": 0.2},
    "FreeU_V2": {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
    "HyperTile": {"tile_size": 64, "swap_size": 2, "max_depth": 0, "scale_depth": False},
    "PerturbedAttentionGuidance": {"scale": 3.0},
    "SelfAttentionGuidance": {"scale": 0.5, "blur_sigma": 2.0},
    "RescaleCFG": {"multiplier": 0.7},
    "TomePatchModel": {"ratio": 0.3},
    "UNetCrossAttentionMultiply": {"q": 1.1, "k": 1.0, "v": 1.0, "out": 1.0},
    "UNetSelfAttentionMultiply": {"q": 1.1, "k": 1.0, "v": 1.0, "out": 1.0},
    "TCFG": {},
    "Mahiro": {},
    "CFGZeroStar": {},
    "FreSca": {"scale_low": 1.0, "scale_high": 1.25, "freq_cutoff": 3},
    "APG": {"eta": 1.0, "norm_threshold": 5.0, "momentum": 0.0},
    "EasyCache": {"reuse_threshold": 0.2, "start_percent": 0.15, "end_percent": 0.95, "verbose": False},
    "Epsilon Scaling": {"scaling_factor": 1.005},
    "DifferentialDiffusion": {"strength": 1.0},
    "NAGuidance": {"nag_scale": 3.0, "nag_alpha": 0.5, "nag_tau": 1.5},
    "SkipLayerGuidanceSD3": {"layers": "7", "scale": 3.0, "start_percent": 0.0, "end_percent": 1.0},
    "HypernetworkLoader": {"hypernetwork_name": "small.pt", "strength": 1.0},
    "ModelSamplingDiscrete": {"sampling": "v_prediction", "zsnr": False},
}
DEPEND_ON_BATCH = {"EasyCache", "TomePatchModel", "HyperTile", "Mahiro"}
"""Patches that draw random numbers, or average over the batch: an image then depends on its neighbours."""


@pytest.fixture(scope="module")
def available(server):
    from tests.comfyui import Client

    path = server.base / "models" / "hypernetworks" / "small.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    layer = {"linear.0.weight": 1.1 * torch.eye(192), "linear.0.bias": torch.zeros(192)}
    torch.save({192: (layer, layer)}, path)
    return Client(server).object_info()


def half_mask(pocket: Pocket):
    black = pocket.add("SolidMask", value=0.0, width=SIZE, height=SIZE)
    white = pocket.add("SolidMask", value=1.0, width=SIZE // 2, height=SIZE)
    return pocket.add("MaskComposite", destination=black, source=white, x=0, y=0, operation="add")


def pictures(comfy, patch: str, before: bool, batch: int = 2, masked: bool = False, black: bool = False):
    """Return the personalised pictures and the plain ones, both patched."""
    pocket = Pocket(batch)
    preference = pocket.preference()
    embedding = pocket.add("EncodeUserHistory", preference_model=preference, history=pocket.history())
    mask = {"mask": half_mask(pocket)} if masked else {}

    def patched(model):
        return pocket.add(patch, model=model, **PATCHES[patch])

    if before:
        personal = pocket.adapted(preference, embedding, patched(pocket.model), **mask)
    else:
        personal = patched(pocket.adapted(preference, embedding, **mask))
    nodes = [pocket.save(pocket.paint(model)) for model in (personal, patched(pocket.model))]
    result = comfy.run(pocket.graph)
    return [result.tensor(node) for node in nodes]


@pytest.mark.parametrize("patch", PATCHES)
def test_a_patch_of_core_beside_the_adapter_leaves_its_effect(comfy, available, patch):
    if patch not in available:
        pytest.skip("not in this version of ComfyUI")
    after, plain = pictures(comfy, patch, before=False)
    assert np.isfinite(after).all()
    assert (np.abs(after - plain).max(axis=(1, 2, 3)) > 1e-3).all(), "every image of the batch is personalised"


@pytest.mark.slow
@pytest.mark.parametrize("patch", PATCHES)
def test_a_patch_of_core_counts_before_and_after_the_adapter_alike(comfy, available, patch):
    if patch not in available:
        pytest.skip("not in this version of ComfyUI")
    for masked in (False, True):
        after, plain = pictures(comfy, patch, before=False, masked=masked)
        before, _ = pictures(comfy, patch, before=True, masked=masked)
        assert np.isfinite(after).all()
        assert (np.abs(after - plain).max(axis=(1, 2, 3)) > 1e-3).all()
        assert np.abs(before - after).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("patch", sorted(set(PATCHES) - DEPEND_ON_BATCH))
def test_beside_a_patch_of_core_an_image_of_a_batch_is_the_image_alone(comfy, available, patch):
    if patch not in available:
        pytest.skip("not in this version of ComfyUI")
    batch, _ = pictures(comfy, patch, before=False, batch=2)
    alone, _ = pictures(comfy, patch, before=False, batch=1)
    assert np.abs(batch[0] - alone[0]).max() < 5e-3


@pytest.mark.parametrize("patch", ["FreeU_V2", "PerturbedAttentionGuidance"])
def test_beside_a_patch_of_core_a_list_of_latents_is_the_batch(comfy, patch):
    pocket = Pocket(3)
    preference = pocket.preference()
    embedding = pocket.add("EncodeUserHistory", preference_model=preference, history=pocket.history())
    mask = half_mask(pocket)
    model = pocket.add(patch, model=pocket.adapted(preference, embedding, mask=mask), **PATCHES[patch])
    whole = pocket.save(pocket.paint(model))
    pocket.latent = pocket.add("RebatchLatents", latents=pocket.latent, batch_size=2)
    listed = pocket.save(pocket.add("RebatchImages", images=pocket.paint(model), batch_size=3))
    result = comfy.run(pocket.graph)
    assert np.abs(result.tensor(listed) - result.tensor(whole)).max() < 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("patch", ["FreeU_V2", "PerturbedAttentionGuidance", "PatchModelAddDownscale"])
def test_a_compiled_model_with_a_patch_of_core_paints_for_the_person(comfy, patch):
    """After the same MODEL painted plainly, whose compiled code PyTorch keeps."""

    def painted(personal: bool, compiled: bool):
        pocket = Pocket()
        model = pocket.add(patch, model=pocket.model, **PATCHES[patch])
        if personal:
            preference = pocket.preference()
            embedding = pocket.add("EncodeUserHistory", preference_model=preference, history=pocket.history())
            model = pocket.adapted(preference, embedding, model)
        if compiled:
            model = pocket.add("TorchCompileModel", model=model, backend="cudagraphs")
        saved = pocket.save(pocket.paint(model))
        return comfy.run(pocket.graph, timeout=500).tensor(saved)

    plain, expected = painted(False, True), painted(True, False)
    assert np.abs(expected - plain).max() > 1e-2
    assert np.abs(painted(True, True) - expected).max() < 2e-3


def test_deep_shrink_with_bislerp_is_named_where_its_gradient_is_not_finite(comfy):
    """Everything computes in float32 here, so that its advice would not help."""
    pocket = Pocket()
    shrunk = pocket.add("PatchModelAddDownscale", model=pocket.model, **SHRINK | {"upscale_method": "bislerp"})
    pocket.save(pocket.optimised(pocket.preference(), pocket.history(), shrunk))
    with pytest.raises(
        NodeError,
        match=r"gradient of iteration 1 is not finite, probably because of the MODEL's patches"
        r" \(PatchModelAddDownscale\)\. Set the upscale_method",
    ) as caught:
        comfy.run(pocket.graph)
    assert "float32" not in caught.value.message
