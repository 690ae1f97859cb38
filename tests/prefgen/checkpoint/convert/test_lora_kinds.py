"""LoRAs of every kind that peft saves: converted so that they score as with peft, or refused by name."""

import pytest

from prefgen.checkpoint.convert.layouts import VIPER
from prefgen.checkpoint.convert.published import convert_published
from prefgen.errors import CheckpointError
from tests.prefgen.checkpoint.convert import published


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A base model and images."""
    folder = tmp_path_factory.mktemp("lora_kinds")
    published.write_base(folder / "bases" / "idefics2-8b")
    published.write_images(folder / "images", 7)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"init_lora_weights": True},
        {"init_lora_weights": "orthogonal"},
        {"init_lora_weights": "mica"},
        {"exclude_modules": ["down_proj"]},
        {"exclude_modules": r".*layers\.0\.mlp.*"},
        {"layers_to_transform": [0], "target_modules": ["q_proj", "v_proj"]},
        {"use_rslora": True},
    ],
    ids=str,
)
def test_loras_of_other_kinds_score_as_with_peft(there, tmp_path, options):
    folder = published.write_lora(tmp_path / "lora", **options)
    made = convert_published(published.small(VIPER), folder, tmp_path / "made.safetensors")
    pairs, candidates = published.material(there, [None, None])
    expected = published.published_scores(folder, None, pairs, candidates, [None] * 3)
    assert published.scores(there, made.path, pairs, candidates, "").tolist() == pytest.approx(expected, abs=1e-4)


CHANGE_THE_BASE = ["pissa", "pissa_niter_4", "olora", "OLoRA", "corda", "loftq", "lora_ga"]


@pytest.mark.parametrize("initialisation", CHANGE_THE_BASE)
def test_loras_whose_initialisation_changed_the_base_are_refused_by_name(there, tmp_path, initialisation):
    folder = published.write_lora(tmp_path / "lora")
    published.rewrite(folder, init_lora_weights=initialisation)
    with pytest.raises(CheckpointError, match=f"initialised by '{initialisation}', which also changes the base model"):
        convert_published(published.small(VIPER), folder, tmp_path / "made.safetensors")


def test_pissa_and_olora_do_change_the_base(there, tmp_path):
    """What peft itself scores with is not the base plus the saved LoRA, so no conversion without the base is right."""
    for name in ("pissa", "pissa_niter_4", "olora"):
        folder = published.write_lora(tmp_path / name, init_lora_weights=name)
        pairs, candidates = published.material(there, [None, None])
        expected = published.published_scores(folder, None, pairs, candidates, [None] * 3)
        published.rewrite(folder, init_lora_weights=True)
        made = convert_published(published.small(VIPER), folder, tmp_path / f"{name}.safetensors")
        ours = published.scores(there, made.path, pairs, candidates, "").tolist()
        assert max(abs(a - b) for a, b in zip(expected, ours, strict=True)) > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alora_invocation_tokens": [1, 2]}, "is an aLoRA, which acts on some tokens only"),
        ({"trainable_token_indices": [5]}, "changes embeddings of some tokens"),
        ({"lora_bias": True}, "trains biases"),
        ({"layer_replication": [[0, 2]]}, "replicates layers"),
        ({"target_parameters": ["weight"]}, "changes parameters outside linear layers"),
        ({"kasa_config": {"beta": 1}}, "uses kasa_config, which PrefDisc does not know"),
        ({"use_qalora": True}, "uses use_qalora, which PrefDisc does not know"),
        ({"a_field_of_tomorrow": 3}, "uses a_field_of_tomorrow, which PrefDisc does not know"),
        ({"init_lora_weights": "something new"}, "initialised by 'something new'; expected a plain LoRA"),
    ],
    ids=str,
)
def test_fields_that_change_more_than_two_matrices_are_refused_by_name(there, tmp_path, options, message):
    folder = published.write_lora(tmp_path / "lora")
    published.rewrite(folder, **options)
    with pytest.raises(CheckpointError, match=message):
        convert_published(published.small(VIPER), folder, tmp_path / "made.safetensors")


def test_every_field_of_peft_is_known():
    """A field that a later peft adds is refused until somebody has decided what it means."""
    from dataclasses import fields

    from peft import LoraConfig

    from prefgen.checkpoint.convert import peft_folder

    known = {*peft_folder._UNSUPPORTED, *peft_folder._MODULE_CHOICES, *peft_folder._WITHOUT_EFFECT}
    refused = {"use_qalora", "monteclora_config", "use_bdlora", "arrow_config", "kasa_config"}
    assert {field.name for field in fields(LoraConfig)} <= known | refused
