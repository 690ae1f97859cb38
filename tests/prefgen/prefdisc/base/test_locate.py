"""Base models of every form they come in, and LoRAs over them."""

import copy
import json
from dataclasses import asdict, replace

import pytest
import torch

from prefgen.checkpoint.file import write_part
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.errors import CheckpointError
from prefgen.prefdisc.base.base_model import save_base
from prefgen.prefdisc.base.huggingface import load_base_folder
from prefgen.prefdisc.base.locate import load_base_by_id, locate_base
from prefgen.prefdisc.config import LoraSpec
from prefgen.prefdisc.model import PrefDisc
from tests.prefgen import tiny

ID = "someone/tiny-idefics2"
IMAGES = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(2))


def write_folder(path, shard="1GB", config=tiny.CONFIG):
    """A Hugging Face folder of the tiny base, in shards of that size."""
    model = tiny.prefdisc(config=config).base
    model.set_attn_implementation("sdpa")
    model.save_pretrained(path, max_shard_size=shard)
    tiny.tokenizer().save(str(path / "tokenizer.json"))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("bases") / ID)


@pytest.mark.parametrize("name", [ID, "someone--tiny-idefics2", "tiny-idefics2"])
@pytest.mark.parametrize("shard", ["1GB", "60KB"])
def test_a_hugging_face_folder_is_the_model_it_holds(tmp_path, name, shard):
    path = write_folder(tmp_path / name, shard)
    assert (path / "model.safetensors.index.json").exists() == (shard == "60KB")
    base = load_base_by_id(ID, [tmp_path / "nothing", tmp_path])
    assert (base.id, base.revision) == (ID, "")
    ours, theirs = PrefDisc(base.model, base.tokenizer, tiny.SPEC, tiny.prefdisc().tokens.detach()), tiny.prefdisc()
    history = tiny.history(2)
    with torch.no_grad():
        expected = theirs.logits(theirs.encode(history), IMAGES)
        assert torch.equal(ours.eval().logits(ours.encode(history), IMAGES), expected)


def test_a_type_can_be_chosen_and_no_window_hides_the_tokens(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"].pop("sliding_window", None)  # as the published file: transformers would make it 4,096
    (folder / "config.json").write_text(json.dumps(config))
    base = load_base_folder(folder, ID, torch.bfloat16)
    assert {parameter.dtype for parameter in base.model.parameters()} == {torch.bfloat16}
    assert base.model.config.text_config.sliding_window is None


def test_another_model_is_refused_before_it_is_weighed(tmp_path):
    path = write_folder(tmp_path / "tiny-idefics2")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"model_type": "llava"}))
    with pytest.raises(CheckpointError, match="holds a model of type 'llava'; expected 'idefics2'"):
        locate_base(ID, [tmp_path]).bytes_needed(torch.float32)


@pytest.mark.parametrize("wanted", ["../someone", "/etc", "", "someone/../../x", "..\\x", "other/model"])
def test_an_id_leads_to_no_other_place(folder, wanted):
    assert load_base_by_id(wanted, [folder.parent]) is None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("type", "holds a model of type 'llama'; expected 'idefics2'"),
        ("json", "has no readable config.json"),
        ("weights", "lacks 1 files of weights .model.safetensors or model.safetensors.index.json"),
        ("cut", "model.safetensors is not a complete .safetensors file"),
        ("missing", r"lacks 1 tensors of the base \(lm_head.weight\)"),
        ("shapes", "cannot be loaded as a base model"),
        ("tokenizer", "tokenizer.json cannot be read by tokenizers"),
        ("nan", r"contains NaN or infinity in torch.float32 \(model.text_model.layers.2.mlp.up_proj.weight\)"),
        ("value", "cannot be loaded as a base model"),
        ("newer tokenizer", "tokenizer.json cannot be read by tokenizers .* or update tokenizers and transformers"),
        ("empty tokenizer", "tokenizer.json cannot be read by tokenizers"),
        ("lora", "holds a LoRA.* Move adapter_config.json away"),
    ],
)
def test_a_faulty_folder_says_what_is_wrong(tmp_path, fault, message):
    from safetensors.torch import load_file, save_file

    path = write_folder(tmp_path / "tiny-idefics2")
    weights, config = path / "model.safetensors", json.loads((path / "config.json").read_text())
    if fault == "type":
        (path / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    elif fault == "json":
        (path / "config.json").write_text("{")
    elif fault == "weights":
        weights.unlink()
    elif fault == "cut":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif fault == "missing":
        tensors = load_file(weights)
        del tensors["lm_head.weight"]
        save_file(tensors, weights, metadata={"format": "pt"})
    elif fault == "shapes":
        config["text_config"]["hidden_size"] = 64
        (path / "config.json").write_text(json.dumps(config))
    elif fault == "nan":
        tensors = load_file(weights)
        tensors["model.text_model.layers.2.mlp.up_proj.weight"][3, 4] = torch.nan
        save_file(tensors, weights, metadata={"format": "pt"})
    elif fault == "value":
        config["text_config"]["hidden_size"] = "wide"
        (path / "config.json").write_text(json.dumps(config))
    elif fault == "newer tokenizer":
        read = json.loads((path / "tokenizer.json").read_text())
        (path / "tokenizer.json").write_text(json.dumps(read | {"model": {"type": "Newer"}}))
    elif fault == "empty tokenizer":
        (path / "tokenizer.json").write_text("{}")
    elif fault == "lora":
        lay_beside(path)
    else:
        (path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=message):
        load_base_by_id(ID, [tmp_path])


@pytest.mark.parametrize("change", [{"text_config": {"hidden_size": "wide"}}, {"text_config": None}])
def test_a_base_file_with_a_faulty_configuration_is_refused(tmp_path, change):
    (tmp_path / "any").mkdir()
    base = tmp_path / "any" / "base.safetensors"
    save_base(base, ID, tiny.CONFIG | change, tiny.prefdisc().base, tiny.tokenizer())
    with pytest.raises(CheckpointError, match=r"base\.safetensors cannot be loaded as a base model"):
        load_base_by_id(ID, [tmp_path])


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
@pytest.mark.parametrize("part", [None, "text_config", "vision_config", "perceiver_config"])
def test_a_configuration_names_no_kernel(tmp_path, name, part):
    """transformers would get it from the Hub where the package `kernels` is installed, and an unknown name fails."""
    path = write_folder(tmp_path / "tiny-idefics2")
    config = json.loads((path / "config.json").read_text())
    (config[part] if part else config)[name] = "someone/kernel"
    (path / "config.json").write_text(json.dumps(config))
    built = load_base_by_id(ID, [tmp_path]).model.config
    parts = [built, built.text_config, built.vision_config, built.perceiver_config]
    assert {part._attn_implementation for part in parts} == {"sdpa"}


def lay_beside(path):
    """A LoRA that fits, in its base's own folder: transformers would lay it over the base."""
    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(tiny.prefdisc().base, LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    wrapped.save_pretrained(path)


LORA = LoraSpec(4, 8, r".*(text_model|modality_projection|perceiver_resampler).*(q|v|down)_proj$")


def write_lora(path, lora=LORA, wrapped=True, config=tiny.CONFIG, **spec):
    """A checkpoint with a LoRA of random weights, as a training writes it; and the model that was trained, peft's
    wrappers in place."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    model = tiny.prefdisc(config=config)
    torch.manual_seed(3)
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    peft = get_peft_model(model.base, LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=modules))
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:  # which begins at zero
            parameter.data.normal_(std=0.5)
    tensors = get_peft_model_state_dict(peft)
    if not wrapped:
        tensors = {key.removeprefix("base_model.model."): tensor for key, tensor in tensors.items()}
    given = replace(tiny.SPEC, **{"base": ID, "lora": lora} | spec).to_json()
    write_part(
        path, "prefdisc", given, {"tokens": model.tokens} | {f"lora.{key}": value for key, value in tensors.items()}
    )
    return model.eval()


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("lora", [LORA, LoraSpec(2, 3, ("q_proj", "o_proj"))])
def test_a_lora_scores_as_the_model_that_was_trained(tmp_path, folder, lora, wrapped):
    trained = write_lora(tmp_path / "lora.safetensors", lora, wrapped)
    loaded = load_preference_model(tmp_path / "lora.safetensors", base_folders=[folder.parent.parent])
    history = tiny.history(2)
    with torch.no_grad():
        expected = trained.logits(trained.encode(history), IMAGES, "a cat")
        bare = tiny.prefdisc().logits(tiny.prefdisc().encode(history), IMAGES, "a cat")
    ours = loaded.prefdisc.logits(loaded.encode_history(history), IMAGES, "a cat")
    # float32: merged into the weights, the LoRA is added in another order
    assert torch.allclose(ours, expected, atol=1e-4)
    assert (ours - bare).abs().max() > 0.1, "the LoRA matters"
    assert not [name for name, _ in loaded.named_modules() if "lora" in name], "nothing of it is left to compute"


def test_a_lora_over_a_base_file_of_ours(tmp_path):
    model = tiny.prefdisc()
    (tmp_path / "bases" / "any").mkdir(parents=True)
    base = tmp_path / "bases" / "any" / "base.safetensors"
    revision = save_base(base, ID, copy.deepcopy(tiny.CONFIG), model.base, tiny.tokenizer())
    write_lora(tmp_path / "lora.safetensors", revision=revision)
    loaded = load_preference_model(
        tmp_path / "lora.safetensors", base_folders=[tmp_path / "bases"], dtype=torch.bfloat16
    )
    assert loaded.prefdisc.dtype == torch.bfloat16
    assert torch.isfinite(loaded.prefdisc.score(loaded.encode_history(tiny.history(2)), IMAGES)).all()


def rewritten(path, change, **spec):
    """The checkpoint with its LoRA's tensors changed, or its header."""
    from prefgen.checkpoint.file import read_checkpoint

    whole = read_checkpoint(path)
    write_part(path, "prefdisc", whole.header["prefdisc"] | spec, change(whole.part("prefdisc")))


@pytest.mark.parametrize(
    ("change", "spec", "message"),
    [
        (lambda t: {"tokens": t["tokens"]}, {}, "LoRA among the tensors: found False; expected True"),
        (lambda t: t, {"lora": None}, "LoRA among the tensors: found True; expected False"),
        (lambda t: dict(list(t.items())[1:]), {}, "has a LoRA for another base model or rank; base_model"),
        (lambda t: t, {"lora": asdict(replace(LORA, r=8))}, "has a LoRA for another base model or rank"),
        (
            lambda t: t,
            {"lora": asdict(replace(LORA, target_modules=("nowhere",)))},
            "which its base model does not have",
        ),
    ],
)
def test_a_lora_that_does_not_fit_is_refused(tmp_path, folder, change, spec, message):
    path = tmp_path / "lora.safetensors"
    write_lora(path)
    rewritten(path, change, **spec)
    with pytest.raises(CheckpointError, match=message):
        load_preference_model(path, base_folders=[folder.parent.parent])
