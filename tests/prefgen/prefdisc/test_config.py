"""PrefDiscSpec to and from a checkpoint's header."""

import json
from dataclasses import replace

import pytest

from prefgen.errors import CheckpointError
from prefgen.prefdisc.config import LoraSpec, PrefDiscSpec
from tests.prefgen import tiny


@pytest.mark.parametrize(
    "lora", [None, LoraSpec(8, 8, ("q_proj", "v_proj")), LoraSpec(8, 8, r".*text_model.*(q|v)_proj$")]
)
def test_a_spec_comes_back_from_json(lora):
    spec = replace(tiny.SPEC, lora=lora)
    written = spec.to_json()
    assert PrefDiscSpec.from_json(json.loads(json.dumps(written))) == spec
    assert ("lora" in written) == (lora is not None), "checkpoints without a LoRA keep their fingerprints"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"lora": {"r": 8, "alpha": 8}}, "target_modules"),
        ({"lora": {"r": 8, "alpha": 8, "target_modules": "x", "rank": 2}}, "unknown field 'rank'"),
        ({"lora": 8}, "does not fit this version"),
        ({"lora": {"r": "8", "alpha": 8, "target_modules": "x"}}, "r is '8'"),
        ({"base": {}}, "base is {}"),
        ({"turn": None}, "turn is None"),
        ({"num_tokens": 10.5}, "num_tokens is 10.5"),
        ({"num_tokens": True}, "num_tokens is True"),
        ({"labels": ["like"]}, "labels is"),
        ({"sem_layers": [1, "2"]}, "sem_layers is"),
        ({"mean": [0.5, 0.5]}, "mean is"),
        ({"disliked_first": 1}, "disliked_first is 1"),
        ({"whole_text": "yes"}, "whole_text is 'yes'"),
        ({"square": 512.5}, "square is 512.5"),
    ],
)
def test_a_spec_of_another_version_is_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        PrefDiscSpec.from_json(json.loads(json.dumps(tiny.SPEC.to_json())) | change)
