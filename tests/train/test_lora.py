"""A LoRA on the pocket UNet: as peft runs it, as the file holds it, as it is merged."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from prefgen.errors import ModelError
from prefgen.pocket.shapes import UNET
from tests.pocket_files import random_lora
from train.pocket.few_step import CONFIG
from train.pocket.lora import TARGETS, add_lora, lora_state_dict, merge_lora

SIZE_LIMIT = 2_000_000  # of the shipped file


def new_unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(**UNET.diffusers_kwargs()).requires_grad_(False)


@torch.no_grad()
def predict(unet):
    g = torch.Generator().manual_seed(1)
    latents, context = torch.randn(2, 4, 12, 12, generator=g), torch.randn(2, 77, 192, generator=g)
    added = {"text_embeds": torch.randn(2, 128, generator=g), "time_ids": torch.zeros(2, 6)}
    return unet(latents, torch.tensor([3, 999]), context, added_cond_kwargs=added, return_dict=False)[0]


def test_a_new_lora_changes_nothing_and_learns_alone():
    plain = predict(new_unet())
    grown = add_lora(new_unet(), 2)
    assert torch.equal(predict(grown), plain)
    learns = [name for name, parameter in grown.named_parameters() if parameter.requires_grad]
    assert learns
    assert all("lora_" in name for name in learns)


def test_the_file_merged_is_what_peft_runs(tmp_path):
    grown, file = random_lora(new_unet(), tmp_path / "lora.safetensors")
    merged = new_unet()
    merge_lora(merged, file)
    peft, ours = predict(grown), predict(merged)
    assert (peft - predict(new_unet())).abs().max() > 0.1
    # The same numbers, added in another order: float32, through some forty layers.
    assert torch.allclose(peft, ours, atol=1e-4)


def test_the_shipped_size_holds_every_layer_of_the_blocks(tmp_path):
    file = tmp_path / "lora.safetensors"
    save_file(lora_state_dict(add_lora(new_unet(), CONFIG.rank)), file)
    assert file.stat().st_size <= SIZE_LIMIT
    names = {name for name in load_file(file) if name.endswith(".lora_down.weight")}
    for target in TARGETS:
        assert [name for name in names if name.endswith(f"_{target.replace('.', '_')}.lora_down.weight")], target


def test_a_lora_is_merged_by_its_alpha_or_refused(tmp_path):
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 4), "b": torch.nn.Conv2d(3, 4, 3)}).requires_grad_(False)
    before, file = {name: w.clone() for name, w in module.state_dict().items()}, tmp_path / "lora.safetensors"
    down, up, kernel, out = torch.randn(2, 3), torch.randn(4, 2), torch.randn(2, 3, 3, 3), torch.randn(4, 2, 1, 1)

    def pair(name, down, up):
        return {f"lora_unet_{name}.lora_down.weight": down, f"lora_unet_{name}.lora_up.weight": up}

    save_file(pair("a", down, up) | {"lora_unet_a.alpha": torch.tensor(1.0)} | pair("b", kernel, out), file)
    first = merge_lora(module, file)
    x, image = torch.randn(5, 3), torch.randn(1, 3, 6, 6)
    assert torch.allclose(module["a"](x), x @ (before["a.weight"] + up @ down / 2).T + before["a.bias"], atol=1e-5)
    convolved = torch.nn.functional.conv2d(image, before["b.weight"], before["b.bias"])
    convolved += torch.nn.functional.conv2d(torch.nn.functional.conv2d(image, kernel), out)
    assert torch.allclose(module["b"](image), convolved, atol=1e-4)
    assert len(first) == 64
    alone = {"lora_unet_a.lora_down.weight": down}
    for wrong in (pair("c", down, up), alone, {"a.weight": down}, pair("a", kernel, out)):
        save_file(wrong, file)
        with pytest.raises(ModelError, match="pocket UNet"):
            merge_lora(module, file)
    with pytest.raises(ModelError, match="cannot be read"):
        merge_lora(module, tmp_path / "none.safetensors")
