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
    assert "disliked_first" not in tiny.SPEC.to_json(), "headers of before stay as they are"
