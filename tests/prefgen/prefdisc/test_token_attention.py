"""What the target's image attends to, and that looking changes nothing."""

import pytest
import torch

from prefgen.prefdisc.token_attention import attention_to_preference_tokens, record_attention
from tests.prefgen import tiny

PROMPT = "a red cat"


def hooks_of(text):
    return [len(layer.self_attn._forward_hooks) for layer in text.layers]


@pytest.fixture(scope="module")
def prefdisc():
    return tiny.prefdisc()


def test_attention_is_that_of_the_image_tokens_on_the_preference_tokens(prefdisc):
    """Picked by hand out of all weights of the whole sequence."""
    history = tiny.history(2)
    prefix, image = prefdisc.encode(history), history.pairs[0].liked
    found = attention_to_preference_tokens(prefdisc, prefix, image, PROMPT)
    turn = prefdisc.template.unlabelled_turn(PROMPT)
    shown = [place for place, token in enumerate(turn) if token == prefdisc.template.image_id]
    layers, heads = len(prefdisc.base.model.text_model.layers), 4
    assert found.shape == (layers, heads, len(shown), 3)
    with record_attention(prefdisc) as kept:
        prefdisc.logits(prefix, image[None], PROMPT)
    for layer, weights in zip(found, kept, strict=True):
        assert weights.shape[-2:] == (len(turn), prefix.length + len(turn))
        assert torch.equal(layer, weights[0, :, shown, :3])


def test_another_history_gets_other_attention(prefdisc):
    image = tiny.history(1, seed=9).pairs[0].liked
    ours, theirs = (
        attention_to_preference_tokens(prefdisc, prefdisc.encode(tiny.history(2, seed=s)), image) for s in (0, 1)
    )
    divided = [weights / weights.sum(-1, keepdim=True) for weights in (ours, theirs)]
    assert (divided[0] - divided[1])[1:].abs().max() > 1e-3
    # In the first layer queries and the tokens' keys are the same for everybody, but for where the target stands.
    assert (divided[0] - divided[1])[0].abs().max() < (divided[0] - divided[1])[1:].abs().max()


def test_looking_changes_no_score_and_leaves_no_hook(prefdisc):
    history = tiny.history(2)
    prefix, image = prefdisc.encode(history), history.pairs[0].liked[None]
    text = prefdisc.base.model.text_model
    before, implementation, hooks = prefdisc.score(prefix, image), text.config._attn_implementation, hooks_of(text)
    attention_to_preference_tokens(prefdisc, prefix, image[0])
    assert torch.equal(prefdisc.score(prefix, image), before)
    assert text.config._attn_implementation == implementation
    assert hooks_of(text) == hooks
