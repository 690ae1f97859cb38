"""Converted checkpoints against the authors' procedures, with Idefics2's own vocabulary, patches and image sizes."""

from dataclasses import replace

import pytest

from prefgen.checkpoint.convert.layouts import LAYOUTS, PROCEDURES
from prefgen.checkpoint.preference_model import PreferenceModel, load_preference_model
from prefgen.prefdisc.model import PrefDisc
from tests import oracle
from tests.prefgen import mistral
from tests.prefgen.checkpoint.convert import published


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("oracle")


@pytest.fixture(scope="module")
def comparison(folder):
    return oracle.compare(folder)


def test_converted_checkpoints_feed_and_score_what_the_authors_do(comparison):
    assert comparison["ids_equal"] is True
    assert comparison["max_abs_diff"] <= 1e-4  # float32; measured 2e-6
    assert comparison["cases"] >= 24


@pytest.fixture(scope="module", params=LAYOUTS)
def scored(request, comparison, folder):
    """A model as it scores, a case, and the authors' logits of it."""
    from peft import PeftModel

    file = oracle.checkpoint(folder, request.param, "scoring")
    model = load_preference_model(file, base_folders=[folder / "bases"])
    case = oracle.cases(folder, request.param, "scoring")[2]
    pool = model.prefdisc.tokens.detach() if LAYOUTS[request.param].has_tokens else None
    peft = PeftModel.from_pretrained(published.base(oracle.CONFIG), folder / "lora").eval()
    return model, case, oracle.authors_logits(case, peft, mistral.tokenizer(), pool)[1]


@pytest.mark.parametrize("change", ["whole_text", "open_space", "square", "rounded", "disliked_first"])
def test_every_value_of_the_template_matters(scored, change):
    """The comparison above would fail without it."""
    model, case, expected = scored
    value = 512 if change == "square" else False
    spec = replace(model.spec, **{change: value})
    prefdisc = PrefDisc(model.prefdisc.base, model.prefdisc.template.tokenizer, spec, model.prefdisc.tokens.detach())
    _, ours = oracle.our_logits(case, PreferenceModel(model.checkpoint, prefdisc))
    assert (ours - expected).abs().max() > 1e-4


def test_the_procedures_differ_where_the_authors_do():
    scoring, training = (LAYOUTS["learn-user-pref"].spec_of(procedure) for procedure in PROCEDURES)
    assert (scoring.open_space, scoring.square, training.open_space, training.square) == (True, 0, False, 512)
    assert LAYOUTS["viper"].spec_of("training").square == 0
