"""PrefDisc against the plain procedure: the whole sequence in one forward of the base model."""

from dataclasses import replace

import pytest
import torch

from prefgen.errors import CheckpointError, ImageError, PrefGenError
from prefgen.prefdisc.model import CPU_CHUNK_SIZE, PrefDisc
from prefgen.prefdisc.packing import Target, pack
from tests.prefgen import tiny


def plain_logits(model, history, image, prompt):
    """(M+, M-) by the base model's own forward over [P_v; history; target], and the sequence's length."""
    ids = list(model.template.opening_ids)
    images = []
    for pair in history.pairs if history else ():
        ids += [*model.template.labelled_turn(pair.prompt, True), *model.template.labelled_turn(pair.prompt, False)]
        images += [pair.liked, pair.disliked]
    ids = torch.tensor([[*ids, *model.template.unlabelled_turn(prompt)]])
    embedded = model.base.get_input_embeddings()(ids)
    features = torch.cat([model.features(i[None]) for i in [*images, image]])
    embedded[ids == model.template.image_id] = features.flatten(0, 1)
    embedded = torch.cat([model.tokens[None], embedded], dim=1)
    logits = model.base(inputs_embeds=embedded).logits[0, -1]
    return logits[list(model.template.label_ids)]


@pytest.fixture(scope="module")
def model():
    return tiny.prefdisc()


@pytest.mark.parametrize("pairs", [0, 1, 3])
def test_prefix_gives_the_whole_sequences_logits(model, pairs):
    history = tiny.history(pairs) if pairs else None
    candidates = torch.rand(5, 3, 24, 24)
    prompts = ["a cat", "", "the red house on a dog", "a", "a dog"]
    prefix = model.encode(history) if history else None
    with torch.no_grad():
        ours = model.logits(prefix, candidates, prompts, chunk_size=2)
        plain = torch.stack([plain_logits(model, history, i, p) for i, p in zip(candidates, prompts, strict=True)])
    assert torch.allclose(ours, plain, atol=1e-4)
    assert plain.std() > 0.05, "the weights are too small for this test to mean anything"


@pytest.mark.parametrize("layers", [(99,), (-6,), (), (1.5,), 3, None, "34"], ids=str)
@pytest.mark.parametrize("part", ["sem", "core"])
def test_layers_that_the_base_has_not_are_refused(model, part, layers):
    spec = replace(tiny.SPEC, **{f"{part}_layers": layers})
    with pytest.raises(CheckpointError, match=rf"{part}_layers is .*; expected layers 0 to 4"):
        PrefDisc(model.base, tiny.tokenizer(), spec)


def test_a_prompt_with_half_a_character_is_refused(model):
    with pytest.raises(PrefGenError, match=r"The prompt contains an unpaired surrogate"):
        model.score(None, torch.rand(1, 3, 24, 24), "a \ud800")


@pytest.mark.parametrize("prompt", [None, 5, [5]])
def test_a_prompt_that_is_no_text_is_refused(model, prompt):
    with pytest.raises(PrefGenError, match=r"The prompt is (None|5); expected text"):
        model.score(None, torch.rand(1, 3, 24, 24), prompt)


def test_any_number_of_candidates_is_split_and_no_vocabulary_is_multiplied(model, monkeypatch):
    """Bounded memory: at most a chunk in one forward, and two logits read, not the whole vocabulary's."""
    sizes = []
    monkeypatch.setattr(
        model, "features", lambda images, real=model.features: sizes.append(len(images)) or real(images)
    )
    monkeypatch.setattr(model.base.lm_head, "forward", lambda states: pytest.fail("all logits were computed"))
    prefix, images = model.encode(tiny.history(1)), torch.rand(2 * CPU_CHUNK_SIZE + 3, 3, 24, 24)
    sizes.clear()
    with torch.no_grad():
        assert model.logits(prefix, images).shape == (len(images), 2)
        assert sizes == [CPU_CHUNK_SIZE, CPU_CHUNK_SIZE, 3]
        whole = model.logits(prefix, images, chunk_size=len(images))
        # float32; a matrix product of other rows sums in another order
        assert torch.allclose(whole, model.logits(prefix, images, chunk_size=7), atol=1e-4)


def test_gradient_reaches_the_pixels_and_matches_the_whole_sequence(model):
    history, image = tiny.history(2), torch.rand(1, 3, 30, 24, requires_grad=True)
    (ours,) = torch.autograd.grad(model.score(model.encode(history), image, "a cat").sum(), image)
    plain = plain_logits(model, history, image[0], "a cat").softmax(-1)[0]
    (expected,) = torch.autograd.grad(plain, image)
    assert expected.abs().max() > 0
    assert torch.allclose(ours, expected, atol=1e-5 * expected.abs().max().item() + 1e-9)


def test_prefix_made_in_inference_mode_serves_a_gradient(model):
    with torch.inference_mode():
        prefix = model.encode(tiny.history())
    image = torch.rand(1, 3, 24, 24, requires_grad=True)
    model.logits(prefix, image).sum().backward()
    assert image.grad.abs().sum() > 0


def test_packed_forward_gives_every_target_what_scoring_gives(model):
    history = tiny.history(3)
    prompts = [pair.prompt for pair in history.pairs]
    targets = [Target(3, "a dog"), Target(0, "a dog"), Target(1, "the red house"), Target(3, "")]
    images = torch.rand(len(targets), 2, 3, 24, 24)
    short = [Target(2, ""), Target(1, "a"), Target(0, "a"), Target(2, "a")]
    packed = pack(model.template, [prompts, ["a", "", "a cat"]], [targets, short])
    shown = torch.stack([i for pair in history.pairs for i in (pair.liked, pair.disliked)])
    features = model.features(torch.cat([shown, images.flatten(0, 1)]))
    with torch.no_grad():
        states = model(packed, features[None].expand(2, -1, -1, -1))
        for i, target in enumerate(targets):
            part = type(history)(history.pairs[: target.num_pairs]) if target.num_pairs else None
            expected = model.logits(model.encode(part), images[i], target.prompt)
            assert torch.allclose(states.logits[0, i], expected, atol=1e-4)
    assert packed.label_positions.shape == (2, 3, 2)
    at_marks = packed.ids[0][packed.label_positions[0] - model.spec.num_tokens]
    assert at_marks.tolist() == [list(model.template.label_ids)] * 3


def test_users_of_unequal_histories_read_as_each_alone(model):
    """Unequal pairs, targets and prompts in one batch: padding is seen by nobody and shifts no position."""
    histories = [tiny.history(3), None, tiny.history(1, seed=4), tiny.history(2, seed=5, prompts=["", "a dog"])]
    prompts = [[pair.prompt for pair in history.pairs] if history else [] for history in histories]
    targets = [
        [Target(3, "a dog"), Target(1, "")],
        [Target(0, "the red house on a dog")],
        [Target(1, ""), Target(0, "a"), Target(1, "a cat")],
        [],
    ]
    images = [torch.rand(len(wanted), 2, 3, 24, 24) for wanted in targets]
    shown = [
        torch.cat(
            [torch.stack([i for p in h.pairs for i in (p.liked, p.disliked)]) if h else i[:0, 0], i.flatten(0, 1)]
        )
        for h, i in zip(histories, images, strict=True)
    ]
    packed = pack(model.template, prompts, targets)
    # What stands after a user's own images must not matter: anything large will do.
    features = torch.full((len(shown), packed.num_images, tiny.SPEC.image.count("<image>"), tiny.WIDTH), 1e4)
    with torch.no_grad():
        for row, seen in enumerate(shown):
            features[row, : len(seen)] = model.features(seen)
        together = model(packed, features).logits
        for row, wanted in enumerate(targets):
            assert packed.has_target[row].sum() == len(wanted)
            for i, target in enumerate(wanted):
                part = type(histories[0])(histories[row].pairs[: target.num_pairs]) if target.num_pairs else None
                expected = model.logits(model.encode(part), images[row][i], target.prompt)
                # float32, four layers of weights six times the usual
                assert torch.allclose(together[row, i], expected, atol=1e-4)


def test_too_few_features_are_refused(model):
    packed = pack(model.template, [["a"], []], [[Target(1, "a")], [Target(0, "a")]])
    with pytest.raises(ValueError, match="expected 2 x 4"):
        model(packed, torch.zeros(2, 3, 2, tiny.WIDTH))


def test_scores_lie_between_none_and_all(model):
    score = model.score(model.encode(tiny.history()), torch.rand(4, 3, 24, 24), "a cat")
    assert score.shape == (4,)
    assert ((score >= 0) & (score <= 1)).all()


def test_a_mid_grey_image_is_an_image(model):
    # Idefics2's own feature path would drop it: normalised, it is all zeros.
    grey = torch.full((1, 3, 24, 24), 0.5)
    assert torch.isfinite(model.score(None, grey)).all()


@pytest.mark.parametrize(
    ("images", "found"), [(torch.rand(3, 24, 24), "(3, 24, 24)"), (torch.rand(2, 4, 8, 8), "(2, 4")]
)
def test_candidates_of_another_shape_are_refused(model, images, found):
    with pytest.raises(ImageError, match="expected \\(batch, 3, height, width\\)") as raised:
        model.logits(None, images)
    assert found in str(raised.value)


def test_states_of_the_last_history_token(model):
    prefix = model.encode(tiny.history())
    assert prefix.hidden.shape == (5, tiny.WIDTH)
    assert not prefix.hidden.requires_grad
    longer = model.encode(tiny.history(seed=1))
    assert not torch.allclose(prefix.hidden[-1], longer.hidden[-1])


def test_float32_tokens_over_a_half_precision_base():
    """As they are trained: a small step would be rounded away in half precision."""
    half = tiny.prefdisc()
    half.base.bfloat16()
    half.tokens.data = half.tokens.data.float()
    assert half.dtype == torch.bfloat16
    prefix = half.encode(tiny.history(2))
    assert prefix.hidden.dtype == torch.bfloat16
    packed = pack(half.template, [["a"]], [[Target(1, "a")]])
    states = half(packed, half.features(torch.rand(4, 3, 24, 24))[None])
    states.logits.float().sum().backward()
    assert half.tokens.grad.dtype == torch.float32
    with torch.no_grad():
        assert torch.isfinite(half.logits(prefix, torch.rand(2, 3, 24, 24)).float()).all()
