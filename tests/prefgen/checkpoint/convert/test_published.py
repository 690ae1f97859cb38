"""Published layouts become checkpoints that score as the published procedure does on the same weights."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from prefgen.checkpoint.convert.layouts import LEARN_USER_PREF, VIPER
from prefgen.checkpoint.convert.published import convert_published
from prefgen.checkpoint.file import read_checkpoint
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.errors import CheckpointError
from tests.prefgen.checkpoint.convert import published

PROMPTS = ["a cat", "the red house on a dog"]


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Both published models, their base, and images."""
    folder = tmp_path_factory.mktemp("published")
    published.write_base(folder / "bases" / "idefics2-8b")
    published.write_lora(folder / "lora")
    published.write_lora(folder / "learn-user-pref")
    published.write_pool(folder / "learn-user-pref" / "prompt_pool.pt")
    published.write_images(folder / "images", 7)
    return folder


def test_learn_user_pref_scores_as_published(there, tmp_path):
    source = there / "learn-user-pref"
    made = convert_published(published.small(LEARN_USER_PREF), source, tmp_path / "made.safetensors")
    pairs, candidates = published.material(there, PROMPTS)
    prompts = ["a dog", "", "the cat"]
    pool = made.part("prefdisc")["tokens"]
    assert torch.equal(pool, published.write_pool(tmp_path / "again.pt"))
    expected = published.published_scores(source, pool, pairs, candidates, prompts)
    ours = published.scores(there, made.path, pairs, candidates, prompts)
    # float32: the LoRA is merged, the history kept, and sums are taken in another order
    assert ours.tolist() == pytest.approx(expected, abs=1e-4)
    bare = published.published_scores(source, None, pairs, candidates, prompts)
    turned = published.published_scores(source, pool, [(b, a, p) for a, b, p in pairs], candidates, prompts)
    for other in (bare, turned):
        assert max(abs(a - b) for a, b in zip(expected, other, strict=True)) > 1e-2, "tokens and labels matter"


def test_viper_scores_as_published_and_reads_no_prompt(there, tmp_path):
    made = convert_published(published.small(VIPER), there / "lora", tmp_path / "made.safetensors")
    pairs, candidates = published.material(there, [None, None])
    expected = published.published_scores(there / "lora", None, pairs, candidates, [None] * 3)
    ours = published.scores(there, made.path, pairs, candidates, "")
    assert ours.tolist() == pytest.approx(expected, abs=1e-4)  # as above
    told, _ = published.material(there, PROMPTS)
    assert torch.equal(published.scores(there, made.path, told, candidates, "a red cat"), ours)


def test_the_header_says_what_was_published(there, tmp_path):
    made = convert_published(LEARN_USER_PREF, there / "learn-user-pref", tmp_path / "made.safetensors")
    header = made.header["prefdisc"]
    assert header["turn"] == (
        "User:<image>The prompt is '{prompt}' Score for this image?<end_of_utterance>\n"
        "Assistant: {label}<end_of_utterance>\n"
    )
    assert (header["base"], header["num_tokens"], header["labels"]) == (published.ID, published.TOKENS, ["+", "-"])
    assert header["image"].count("<image>") == 64
    assert header["lora"] == {"r": 8, "alpha": 8.0, "target_modules": published.TARGETS}
    assert made.header["licence"] == "MIT"
    assert made.header["training"]["prefdisc"]["source"] == "wenyii/learn-user-pref"
    other = convert_published(
        VIPER, there / "lora", tmp_path / "other.safetensors", base="me/tuned-idefics2", licence="CC0-1.0"
    )
    assert "{prompt}" not in other.header["prefdisc"]["turn"]
    assert other.part("prefdisc")["tokens"].shape == (0, 32)
    assert (other.header["prefdisc"]["base"], other.header["licence"]) == ("me/tuned-idefics2", "CC0-1.0")


def test_a_procedure_is_kept_in_the_header(there, tmp_path):
    made = [
        convert_published(LEARN_USER_PREF, there / "learn-user-pref", tmp_path / f"{procedure}.safetensors", **options)
        for procedure, options in {
            "default": {},
            "training": {"procedure": "training"},
            "as eval.py": {"square": 512},
        }.items()
    ]
    names = ("whole_text", "open_space", "square", "rounded")
    assert [[file.header["prefdisc"].get(name, 0) for name in names] for file in made] == [
        [True, True, 0, True],
        [True, 0, 512, True],
        [True, True, 512, True],
    ]
    assert [file.header["training"]["prefdisc"]["procedure"] for file in made] == ["scoring", "training", "scoring"]
    with pytest.raises(CheckpointError, match="procedure is 'testing'; expected one of scoring, training"):
        convert_published(VIPER, there / "lora", tmp_path / "other.safetensors", procedure="testing")


def test_a_file_of_the_earlier_converter_loads_as_before_and_says_so(there, tmp_path, caplog):
    """Without the fields that the earlier one did not write, and with its source."""
    layout = published.small(VIPER)
    layout = replace(layout, spec=replace(layout.spec, whole_text=False, open_space=False, rounded=False))
    made = convert_published(layout, there / "lora", tmp_path / "made.safetensors")
    load_preference_model(made.path, base_folders=[there / "bases"])
    assert "made.safetensors was converted by an earlier version of PrefGen" in caplog.text
    assert "Convert it again." in caplog.text


@pytest.mark.parametrize("form", ["bin", "default names", "rank-stabilised", "below"])
def test_other_forms_of_the_same_lora(there, tmp_path, form):
    """Names and files that peft's and transformers' versions leave; alpha over the root of r."""
    import shutil

    plain = convert_published(VIPER, there / "lora", tmp_path / "plain.safetensors")
    folder = tmp_path / "lora" / ("checkpoint-5000" if form == "below" else ".")
    shutil.copytree(there / "lora", folder, dirs_exist_ok=True)
    weights = folder / "adapter_model.safetensors"
    if form == "bin":
        torch.save(load_file(weights), folder / "adapter_model.bin")
        weights.unlink()
    elif form == "default names":
        save_file({name.replace(".weight", ".default.weight"): t for name, t in load_file(weights).items()}, weights)
    elif form == "rank-stabilised":
        published.rewrite(folder, use_rslora=True, lora_alpha=8 / 8**0.5)
    made = convert_published(VIPER, tmp_path / "lora", tmp_path / "made.safetensors")
    assert made.header["prefdisc"]["lora"]["alpha"] == pytest.approx(8)
    assert {k: v.shape for k, v in made.tensors.items()} == {k: v.shape for k, v in plain.tensors.items()}
    assert all(torch.equal(tensor, plain.tensors[name]) for name, tensor in made.tensors.items())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("dora", "is a DoRA. PrefDisc supports plain LoRAs only"),
        ("kind", "is of type 'IA3'. PrefDisc supports plain LoRAs only"),
        ("rank", "expected lora_A .4, in. and lora_B"),
        ("no weights", "has neither adapter_model.safetensors nor adapter_model.bin"),
        ("cut", "is not a complete .safetensors file"),
        ("nan", "has NaN or infinity in"),
        ("no config", "has 0 folders with an adapter_config.json"),
        ("deep config", "adapter_config.json could not be read"),
        ("other names", "does not change a language model"),
        ("no pool", "has 0 possible pools of tokens"),
        ("two pools", "has 2 possible pools of tokens.*--tokens"),
        ("wide pool", "tokens have width 48, the LoRA 32"),
        ("there", "already exists. Choose another file, or replace it with --force"),
        ("ending", "expected a name ending in .safetensors"),
    ],
)
def test_what_cannot_be_converted_says_why(there, tmp_path, fault, message):
    import shutil

    folder, out = tmp_path / "source", tmp_path / "out.safetensors"
    shutil.copytree(there / "learn-user-pref", folder)
    weights, pool = folder / "adapter_model.safetensors", folder / "prompt_pool.pt"
    if fault == "dora":
        published.rewrite(folder, use_dora=True)
    elif fault == "kind":
        published.rewrite(folder, peft_type="IA3")
    elif fault == "rank":
        published.rewrite(folder, r=4)
    elif fault == "no weights":
        weights.unlink()
    elif fault == "cut":
        weights.write_bytes(weights.read_bytes()[:2000])
    elif fault == "nan":
        tensors = load_file(weights)
        next(iter(tensors.values())).fill_(torch.nan)
        save_file(tensors, weights)
    elif fault == "no config":
        (folder / "adapter_config.json").unlink()
    elif fault == "deep config":
        (folder / "adapter_config.json").write_text("[" * 100_000)
    elif fault == "other names":
        save_file({name.replace("text_model", "decoder"): t for name, t in load_file(weights).items()}, weights)
    elif fault == "no pool":
        pool.unlink()
    elif fault == "two pools":
        shutil.copy(pool, folder / "older.pt")
    elif fault == "wide pool":
        published.write_pool(pool, width=48)
    elif fault == "there":
        out.write_text("mine")
    else:
        out = tmp_path / "out.pt"
    with pytest.raises(CheckpointError, match=message):
        convert_published(LEARN_USER_PREF, folder, out)
    assert [path.name for path in tmp_path.iterdir() if path != folder] == (["out.safetensors"] * (fault == "there"))
    if fault == "there":
        assert out.read_text() == "mine"
        convert_published(LEARN_USER_PREF, folder, out, force=True)
        assert read_checkpoint(out).has("prefdisc")


LAYER = "base_model.model.model.text_model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora_A": torch.tensor(1.0)}, r"has \{'lora_A': \(\), .* expected lora_A \(8, in\)"),
        ({"lora_B": torch.ones(8)}, r"'lora_B': \(8,\)"),
        ({"lora_A": torch.ones(8, 32, 3, 3)}, r"'lora_A': \(8, 32, 3, 3\)"),
        ({"lora_A": torch.ones(8, 32, dtype=torch.complex64)}, "has a tensor of type complex64 for .*q_proj"),
        ({"lora_A": torch.ones(8, 32, dtype=torch.bool)}, "of type bool"),
        ({"lora_A": torch.ones(8, 32).to(torch.float8_e4m3fn)}, "of type float8_e4m3fn"),
        ({"lora_A": torch.ones(8, 32).to_sparse()}, "has a tensor in a sparse or nested layout"),
        ({"lora_A": torch.ones(8, 32, device="meta")}, "without values"),
        ({"lora_A": torch.zeros(1).expand(8, 10**12)}, r"of shape \(8, 1000000000000\) with values for a part"),
        ({"lora_A.default": torch.ones(8, 32)}, "has two tensors for .*q_proj.lora_A.weight"),
    ],
)
def test_a_lora_of_other_tensors_says_what_they_are(there, tmp_path, change, message):
    """In a pickle, which can hold them all."""
    import shutil

    folder = tmp_path / "source"
    shutil.copytree(there / "lora", folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    changed = {f"{LAYER}.{side}.weight": tensor for side, tensor in change.items()}
    torch.save(tensors | changed, folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=message):
        convert_published(VIPER, folder, tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    "value",
    [
        {"r": float("inf")},
        {"lora_alpha": float("nan")},
        {"lora_alpha": float("inf")},
        {"target_modules": {"q_proj": 1}},
        {"target_modules": "(((("},
        {"target_modules": [1]},
        {"target_modules": []},
    ],
)
def test_a_lora_with_a_faulty_configuration_names_the_value(there, tmp_path, value):
    import shutil

    shutil.copytree(there / "lora", tmp_path / "source")
    published.rewrite(tmp_path / "source", **value)
    with pytest.raises(
        CheckpointError,
        match=r"(r|lora_alpha|target_modules) in .*adapter_config\.json is|json could not be read .*unterminated",
    ):
        convert_published(VIPER, tmp_path / "source", tmp_path / "out.safetensors")
