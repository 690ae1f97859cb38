"""Published procedures read a pair disliked image first; a training then reads what scoring reads."""

from dataclasses import replace

import pytest
import torch

from prefgen.prefdisc.config import PrefDiscSpec
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.packing import Target, pack
from tests.prefgen import tiny


@pytest.mark.parametrize("disliked_first", [False, True])
@torch.no_grad()
def test_a_packed_forward_reads_pairs_in_the_order_of_scoring(disliked_first):
    whole = tiny.prefdisc()
    spec = replace(tiny.SPEC, disliked_first=disliked_first)
    prefdisc = PrefDisc(whole.base, tiny.tokenizer(), spec, whole.tokens).eval()
    histories, targets = [tiny.history(3, seed=4), tiny.history(1, seed=5)], torch.rand(2, 2, 3, 24, 24)
    images = [torch.stack([i for pair in h.pairs for i in (pair.liked, pair.disliked)]) for h in histories]
    packed = pack(
        prefdisc.template,
        [[pair.prompt for pair in history.pairs] for history in histories],
        [[Target(len(history), "a dog")] for history in histories],
    )
    shown = [prefdisc.features(torch.cat([own, target])) for own, target in zip(images, targets, strict=True)]
    features = torch.nn.utils.rnn.pad_sequence(shown, batch_first=True)
    together = prefdisc(packed, features).logits[:, 0]
    for row, history, target in zip(together, histories, targets, strict=True):
        # float32: one masked forward against a kept prefix
        assert torch.allclose(row, prefdisc.logits(prefdisc.encode(history), target, "a dog"), atol=1e-4)


def test_the_order_matters_and_is_kept_in_the_header():
    whole, history, images = tiny.prefdisc(), tiny.history(2), torch.rand(3, 3, 24, 24)
    spec = replace(tiny.SPEC, disliked_first=True)
    other = PrefDisc(whole.base, tiny.tokenizer(), spec, whole.tokens).eval()
    assert not torch.allclose(other.score(other.encode(history), images), whole.score(whole.encode(history), images))
    assert PrefDiscSpec.from_json(spec.to_json()) == spec
    optional = {"disliked_first", "whole_text", "open_space", "square", "rounded", "lora"}
    assert not optional & set(tiny.SPEC.to_json()), "headers of before stay as they are"


@torch.no_grad()
def test_every_pair_of_a_packed_batch_can_have_its_own_order():
    """As published training draws it; a history read so is the same history with some pairs turned round."""
    prefdisc, history, target = tiny.prefdisc(), tiny.history(3, seed=4), torch.rand(1, 2, 3, 24, 24)
    prompts = [[pair.prompt for pair in history.pairs]]
    images = torch.stack([image for pair in history.pairs for image in (pair.liked, pair.disliked)])
    features = prefdisc.features(torch.cat([images, target[0]]))[None]
    swapped = [[True, False, True]]
    packed = pack(prefdisc.template, prompts, [[Target(3, "a dog")]], swapped)
    plus, minus = prefdisc.template.label_ids
    ids = packed.ids[0][packed.label_positions[0] - tiny.SPEC.num_tokens]
    assert ids.tolist() == [[minus, plus], [plus, minus], [minus, plus]]
    assert packed.order_features(torch.arange(8)[None]).tolist() == [[1, 0, 2, 3, 5, 4, 6, 7]]
    order = torch.tensor([1, 0, 2, 3, 5, 4, 6, 7])
    plain = pack(prefdisc.template, prompts, [[Target(3, "a dog")]])
    # The same images in the same places under the plain batch's labels: only the labels differ.
    other = prefdisc(plain, features[:, order]).logits
    ours = prefdisc(packed, features).logits
    assert not torch.allclose(ours, other)
    relabelled = replace(plain, ids=packed.ids)
    assert torch.equal(prefdisc(relabelled, features[:, order]).logits, ours)
