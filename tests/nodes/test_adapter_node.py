"""ApplyPreferenceAdapter on the real server, in stock graphs."""

import shutil

import numpy as np
import pytest

from prefgen.checkpoint import read_checkpoint, write_part
from prefgen.pocket import shapes
from tests.comfyui import NodeError
from tests.nodes.graphs import Pocket
from tests.nodes.other_models import write_sd15

pytestmark = pytest.mark.server


def painted(comfy, build, **pocket) -> np.ndarray:
    """Build a graph whose image is asked for, run it, and give the image at full precision."""
    graph = Pocket(**pocket)
    save = graph.save(build(graph))
    return comfy.run(graph.graph).tensor(save)


def adapted(seed: int = 0, before=None, **settings):
    """Paint with a person's adapter, on top of the model that `before` makes."""

    def build(graph: Pocket):
        return graph.paint(model_of(graph))

    def model_of(graph: Pocket):
        preference = graph.preference()
        embedding = graph.add("EncodeUserHistory", model=preference, history=graph.history(seed))
        return graph.adapted(preference, embedding, before(graph) if before else None, **settings)

    build.model = model_of
    return build


@pytest.fixture(scope="module")
def plain(server):
    from tests.comfyui import Client

    return painted(Client(server), lambda graph: graph.paint())


@pytest.mark.parametrize("off", [{"strength": 0.0}, {"sem_strength": 0.0, "core_strength": 0.0, "img_strength": 0.0}])
def test_without_strength_the_image_is_bit_identical(comfy, plain, off):
    assert np.array_equal(painted(comfy, adapted(**off)), plain)


def test_the_adapter_changes_the_image_and_the_same_seed_repeats_it(comfy, plain):
    first = painted(comfy, adapted())
    comfy.free()
    assert np.array_equal(painted(comfy, adapted()), first)
    assert np.abs(first - plain).max() > 1e-3
    assert not np.array_equal(painted(comfy, adapted(seed=1)), first)


def test_nothing_leaks_into_the_model_upstream(comfy, plain):
    graph = Pocket()
    personal = graph.save(adapted()(graph))
    unchanged = graph.save(graph.paint())
    result = comfy.run(graph.graph)
    assert np.array_equal(result.tensor(unchanged), plain)
    assert not np.array_equal(result.tensor(personal), plain)


def test_outside_start_and_end_the_steps_are_the_plain_ones(comfy, plain):
    assert np.array_equal(painted(comfy, adapted(start=0.999, end=1.0)), plain)
    assert not np.array_equal(painted(comfy, adapted(start=0.0, end=0.1)), plain)


def test_two_people_in_a_row_both_count(comfy):
    one, other = painted(comfy, adapted(seed=0)), painted(comfy, adapted(seed=1))
    both = painted(comfy, adapted(seed=1, before=adapted(seed=0).model))
    assert not np.array_equal(both, one)
    assert not np.array_equal(both, other)


def test_a_batch_gets_the_branch_in_every_row(comfy):
    plain = painted(comfy, lambda graph: graph.paint(), batch=3)
    personal = painted(comfy, adapted(), batch=3)
    assert (np.abs(personal - plain).max(axis=(1, 2, 3)) > 1e-3).all()


def refused(comfy, build, message: str) -> None:
    with pytest.raises(NodeError, match=message) as caught:
        painted(comfy, build)
    assert caught.value.node_type == "ApplyPreferenceAdapter"


def test_a_model_that_is_no_sdxl_unet_is_refused_by_name(comfy):
    name = write_sd15(comfy.server.base / "models" / "diffusion_models" / "small_sd15.safetensors")
    sd15 = adapted(before=lambda graph: graph.add("UNETLoader", unet_name=name, weight_dtype="default"))
    refused(comfy, sd15, "The MODEL is SD15.*connect an SDXL checkpoint")


def test_start_above_end_is_refused(comfy):
    refused(comfy, adapted(start=0.8, end=0.2), "start is 0.8 and end is 0.2")


@pytest.fixture(scope="module")
def checkpoints(server):
    """Beside the pocket's: `other` reads otherwise, `retrained` paints otherwise, `foreign` is for another UNet, `blind`
    has no adapter."""
    folder = server.base / "models" / "prefgen"
    pocket = read_checkpoint(shapes.weights_path("preference"))
    config, weights = pocket.header["adapter"], pocket.part("adapter")
    for name in ("other", "retrained", "foreign"):
        shutil.copy(pocket.path, folder / f"{name}.safetensors")
    reader = {name: x * 1.5 if name == "tokens" else x for name, x in pocket.part("prefdisc").items()}
    write_part(folder / "other.safetensors", "prefdisc", pocket.header["prefdisc"], reader)
    louder = {name: x * 1.5 if "to_v" in name else x for name, x in weights.items()}
    write_part(folder / "retrained.safetensors", "adapter", config, louder)
    first_block = {name: x for name, x in weights.items() if not name.startswith("blocks.") or "input_4_0" in name}
    write_part(folder / "foreign.safetensors", "adapter", config | {"blocks": config["blocks"][:1]}, first_block)
    for part in ("prefdisc", "alignment"):
        write_part(folder / "blind.safetensors", part, pocket.header[part], pocket.part(part))


def with_checkpoint(of_embedding: str, of_adapter: str):
    def build(graph: Pocket):
        embedding = graph.add("EncodeUserHistory", model=graph.preference(of_embedding), history=graph.history())
        return graph.paint(graph.adapted(graph.preference(of_adapter), embedding))

    return build


def test_an_embedding_of_another_checkpoint_is_refused(comfy, checkpoints):
    message = (
        "made by another preference checkpoint, preference.safetensors.*of other.safetensors.*encode the history again"
    )
    refused(comfy, with_checkpoint("pocket", "other.safetensors"), message)


def test_an_embedding_serves_another_adapter_of_the_same_prefdisc(comfy, checkpoints):
    one = painted(comfy, with_checkpoint("pocket", "pocket"))
    assert not np.array_equal(painted(comfy, with_checkpoint("pocket", "retrained.safetensors")), one)


def test_a_checkpoint_without_an_adapter_is_refused(comfy, checkpoints):
    refused(comfy, with_checkpoint("blind.safetensors", "blind.safetensors"), "blind.safetensors has no adapter")


def test_an_adapter_of_another_base_is_refused(comfy, checkpoints):
    message = "11 cross-attention blocks.*made for 1 cross-attention"
    refused(comfy, with_checkpoint("foreign.safetensors", "foreign.safetensors"), message)
