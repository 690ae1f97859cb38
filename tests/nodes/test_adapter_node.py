"""ApplyPreferenceAdapter on the real server, in stock graphs."""

import shutil

import numpy as np
import pytest
import torch

from prefgen.checkpoint.file import read_checkpoint, write_part
from prefgen.pocket import shapes
from tests.comfyui import NodeError, PromptRefused
from tests.nodes.graphs import Pocket
from tests.nodes.other_models import write_flux, write_sd15
from tests.prefgen import ip_adapters

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
        embedding = graph.add("EncodeUserHistory", preference_model=preference, history=graph.history(seed))
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
    assert np.array_equal(painted(comfy, adapted(start_percent=0.999, end_percent=1.0)), plain)
    assert not np.array_equal(painted(comfy, adapted(start_percent=0.0, end_percent=0.1)), plain)


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


def test_a_preset_or_a_list_of_blocks_chooses_where_the_taste_goes_in(comfy, plain):
    everywhere, style = painted(comfy, adapted()), painted(comfy, adapted(blocks="style"))
    listed = painted(comfy, adapted(block_weights="input=0, middle=0, output=0, output.1=1"))
    assert not np.array_equal(style, everywhere)
    assert np.array_equal(listed, style)
    assert np.array_equal(painted(comfy, adapted(block_weights="input=0, middle=0, output=0")), plain)


def test_the_disliked_images_push_through_the_negative_prompts_rows(comfy):
    pushed = painted(comfy, adapted(dislikes="push away"))
    assert not np.array_equal(pushed, painted(comfy, adapted()))


def test_a_mask_of_black_is_the_plain_image_and_of_white_the_personal_one(comfy, plain):
    def masked(value, width=96, height=96):
        def build(graph):
            preference = graph.preference()
            embedding = graph.add("EncodeUserHistory", preference_model=preference, history=graph.history())
            mask = graph.add("SolidMask", value=value, width=width, height=height)
            return graph.paint(graph.adapted(preference, embedding, mask=mask))

        return build

    assert np.abs(painted(comfy, masked(0.0)) - plain).max() < 1e-5  # zeros are added, rows are as they were
    assert np.abs(painted(comfy, masked(1.0, 48, 48)) - painted(comfy, adapted())).max() < 1e-5
    with pytest.raises(NodeError, match="The mask is 96 x 32 pixels; expected the proportions of the image, 96 x 96"):
        painted(comfy, masked(1.0, 96, 32))


def ip_adapted(dislikes="ignore", width=16, file="pocket_ip.safetensors"):
    """Paint with an IP-Adapter file in the pocket generator's layout."""

    def build(graph):
        preference = graph.add("PreferenceModelFromIPAdapter", file=file)
        tower = graph.add("ProbeClipVision", width=width)
        given = {"preference_model": preference, "history": graph.history(), "clip_vision": tower}
        embedding = graph.add("EncodeUserHistory", **given)
        return graph.paint(graph.adapted(preference, embedding, dislikes=dislikes))

    return build


@pytest.fixture(scope="module")
def ip_folder(server):
    folder = server.base / "models" / "ipadapter"
    ip_adapters.write(folder / "pocket_ip.safetensors", shapes.UNET)
    return folder


def test_an_ip_adapter_file_pulls_with_liked_and_pushes_with_disliked_images(comfy, plain, ip_folder):
    liked, both = painted(comfy, ip_adapted()), painted(comfy, ip_adapted("push away"))
    assert np.isfinite(both).all()
    assert np.abs(liked - plain).max() > 1e-3
    assert np.abs(both - liked).max() > 1e-3


def test_beside_the_negative_prompt_an_ip_adapter_sees_the_image_of_zeros(comfy, plain, ip_folder):
    """As in its training. One that gives every image the same tokens then gives them to both sides, as it does where
    what is disliked is pushed away."""
    blind = "blind.safetensors"
    ip_adapters.write(ip_folder / blind, shapes.UNET, image_proj__proj__weight=torch.zeros(4 * 192, 16))
    liked, both = painted(comfy, ip_adapted(file=blind)), painted(comfy, ip_adapted("push away", file=blind))
    assert np.abs(liked - plain).max() > 1e-3
    assert np.array_equal(liked, both)


def test_ip_adapter_files_that_cannot_be_used(comfy, ip_folder):
    def refused_at(node, build, message):
        with pytest.raises(NodeError, match=message) as caught:
            painted(comfy, build)
        assert caught.value.node_type == node

    refused_at("EncodeUserHistory", ip_adapted(width=12), "gives embeddings 12 wide; the adapter of pocket_ip")
    bad = ip_folder / "bad.safetensors"
    for changes, message in (
        ({"image_proj__proj__weight": torch.zeros(700, 16)}, "tensors that do not fit each other"),
        (
            {"ip_adapter__1__to_k_ip__weight": torch.full((128, 192), torch.nan)},
            "has NaN or infinity in ip_adapter.1.to_k",
        ),
    ):
        ip_adapters.write(bad, shapes.UNET, **changes)
        refused_at("PreferenceModelFromIPAdapter", ip_adapted(file=bad.name), message)


def test_an_embedding_of_images_alone_is_refused_by_a_checkpoint_that_reads_more(comfy, ip_folder):
    def build(graph):
        preference = graph.add("PreferenceModelFromIPAdapter", file="pocket_ip.safetensors")
        given = {"history": graph.history(), "clip_vision": graph.add("ProbeClipVision", width=16)}
        embedding = graph.add("EncodeUserHistory", preference_model=preference, **given)
        return graph.paint(graph.adapted(graph.preference(), embedding))

    refused(comfy, build, "encoded by another preference checkpoint, pocket_ip.safetensors")


def test_a_model_that_is_no_sdxl_unet_is_refused_by_name(comfy):
    name = write_sd15(comfy.server.base / "models" / "diffusion_models" / "small_sd15.safetensors")
    sd15 = adapted(before=lambda graph: graph.add("UNETLoader", unet_name=name, weight_dtype="default"))
    refused(comfy, sd15, "The MODEL is SD15; expected SDXL. Connect an SDXL checkpoint")


def test_a_flux_model_is_refused_by_name(comfy):
    name = write_flux(comfy.server.base / "models" / "diffusion_models" / "small_flux.safetensors")
    flux = adapted(before=lambda graph: graph.add("UNETLoader", unet_name=name, weight_dtype="default"))
    refused(comfy, flux, "The MODEL is Flux; expected SDXL. Connect an SDXL checkpoint")


def test_start_above_end_is_refused(comfy):
    refused(
        comfy, adapted(start_percent=0.8, end_percent=0.2), "start_percent is 0.8; expected at most end_percent, 0.2"
    )


@pytest.mark.parametrize("name", ["strength", "img_strength", "variety", "end_percent"])
def test_numbers_out_of_range_are_refused_typed_in_or_from_another_node(comfy, name):
    with pytest.raises(PromptRefused, match="bigger than max"):
        painted(comfy, adapted(**{name: 7.0}))

    def linked(graph):
        return adapted(**{name: graph.add("PrimitiveFloat", value=7.0)})(graph)

    refused(comfy, linked, rf"{name} is 7; expected a finite number at least 0 and at most")


def test_block_weights_that_cannot_be_read_are_refused(comfy):
    refused(comfy, adapted(block_weights="1, 2"), "has 2 numbers; expected 11")
    refused(comfy, adapted(block_weights="input.77=1"), "has 'input.77'; expected blocks of")


@pytest.fixture(scope="module")
def checkpoints(server):
    """Beside the pocket's: `other` reads otherwise, `retrained` paints otherwise, `foreign` is for another UNet,
    `blind` has no adapter, `broken` has NaN in its keys and `unsure` in its votes; `tokens` says another number of user
    tokens than it can have, `words` another number of words than are in it."""
    folder = server.base / "models" / "prefgen"
    pocket = read_checkpoint(shapes.weights_path("preference"))
    config, weights = pocket.header["adapter"], pocket.part("adapter")
    for name in ("other", "retrained", "foreign", "broken", "unsure", "tokens", "words"):
        shutil.copy(pocket.path, folder / f"{name}.safetensors")
    reader = {name: x * 1.5 if name == "tokens" else x for name, x in pocket.part("prefdisc").items()}
    write_part(folder / "other.safetensors", "prefdisc", pocket.header["prefdisc"], reader)
    louder = {name: x * 1.5 if "to_v" in name else x for name, x in weights.items()}
    write_part(folder / "retrained.safetensors", "adapter", config, louder)
    for file, damaged in (("broken", "4_0.to_k"), ("unsure", "votes.sem")):
        spoilt = {n: x.index_fill(0, torch.tensor([0]), torch.nan) if damaged in n else x for n, x in weights.items()}
        write_part(folder / f"{file}.safetensors", "adapter", config, spoilt)
    write_part(folder / "tokens.safetensors", "adapter", config | {"core_tokens": config["core_tokens"] + 1}, weights)
    more = {"words": [config["words"][0] + 1, *config["words"][1:]]}
    write_part(folder / "words.safetensors", "adapter", config | more, weights)
    first_block = {name: x for name, x in weights.items() if not name.startswith("blocks.") or "input_4_0" in name}
    write_part(folder / "foreign.safetensors", "adapter", config | {"blocks": config["blocks"][:1]}, first_block)
    for part in ("prefdisc", "alignment"):
        write_part(folder / "blind.safetensors", part, pocket.header[part], pocket.part(part))


def with_checkpoint(of_embedding: str, of_adapter: str):
    def build(graph: Pocket):
        embedding = graph.add(
            "EncodeUserHistory", preference_model=graph.preference(of_embedding), history=graph.history()
        )
        return graph.paint(graph.adapted(graph.preference(of_adapter), embedding))

    return build


def test_an_embedding_of_another_checkpoint_is_refused(comfy, checkpoints):
    message = (
        "encoded by another preference checkpoint, preference.safetensors.*expected other.safetensors. Encode it again"
    )
    refused(comfy, with_checkpoint("pocket", "other.safetensors"), message)


def test_an_embedding_serves_another_adapter_of_the_same_prefdisc(comfy, checkpoints):
    one = painted(comfy, with_checkpoint("pocket", "pocket"))
    assert not np.array_equal(painted(comfy, with_checkpoint("pocket", "retrained.safetensors")), one)


def test_a_checkpoint_without_an_adapter_is_refused(comfy, checkpoints):
    refused(comfy, with_checkpoint("blind.safetensors", "blind.safetensors"), "blind.safetensors has no adapter")


def test_an_adapter_of_another_base_is_refused(comfy, checkpoints):
    message = "11 cross-attention blocks.*expected 1 cross-attention"
    refused(comfy, with_checkpoint("foreign.safetensors", "foreign.safetensors"), message)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("tokens.safetensors", r"tokens are .*'core': 6.*; expected 5, one for each codebook"),
        ("broken.safetensors", r"broken\.safetensors has NaN or infinity in adapter\.blocks\.input_4_0\.to_k"),
        ("unsure.safetensors", r"unsure\.safetensors has NaN or infinity in adapter\.codebook\.to_logits\.sem"),
        ("words.safetensors", r"words\.safetensors has tensors that do not fit its header"),
    ],
)
def test_a_damaged_adapter_is_refused_where_it_is_loaded(comfy, checkpoints, file, message):
    with pytest.raises(NodeError, match=message) as caught:
        painted(comfy, with_checkpoint(file, file))
    assert caught.value.node_type == "LoadPreferenceModel"
