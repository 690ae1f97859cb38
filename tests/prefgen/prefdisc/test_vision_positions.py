"""The positions of image patches do not depend on the version of transformers, the dtype, or the caller's mode."""

import pytest
import torch

from benchmarks.transformers_versions.__main__ import compare_versions
from prefgen.prefdisc.vision_positions import position_ids, vision_states
from tests.prefgen import tiny


@pytest.mark.parametrize(("rows", "columns"), [(70, 70), (35, 70), (1, 14), (10, 7)])
def test_a_patch_has_the_position_of_the_bucket_that_holds_its_start(rows, columns):
    ids = position_ids(rows, columns, 70).reshape(rows, columns)
    assert ids[:, 0].tolist() == [row * 70 // rows * 70 for row in range(rows)]
    assert ids[0].tolist() == [column * 70 // columns for column in range(columns)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bfloat16_moves_no_patch_of_a_large_grid(dtype):
    vision = tiny.CONFIG["vision_config"] | {"image_size": 420, "patch_size": 6}
    tower = tiny.prefdisc(config=tiny.CONFIG | {"vision_config": vision}).base.model.vision_model.to(dtype)
    seen = []
    tower.embeddings.position_embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    vision_states(tower, torch.rand(1, 3, 420, 420).to(dtype))
    assert seen[0].tolist() == list(range(70 * 70))


def test_the_states_are_those_of_the_tower():
    tower, pixels = tiny.prefdisc().base.model.vision_model, torch.randn(2, 3, 24, 12)
    assert torch.equal(vision_states(tower, pixels), tower(pixel_values=pixels).last_hidden_state)


@pytest.mark.slow
def test_scores_are_equal_under_other_versions_of_transformers():
    """4.57.3 and 5.20.2 compute the positions in other ways; 4.50.3 is below the bound."""
    result = compare_versions(["4.50.3", "4.57.3", "5.20.2"])
    assert result["all_equal"], result
