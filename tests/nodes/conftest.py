"""ComfyUI's own modules and the pack's nodes in this process, for tests that look inside a forward pass."""

import importlib
import importlib.util
import sys

import pytest

from tests.comfyui.server import PACK, find_comfyui

PACK_NAME = "prefgen_pack"  # any name but `nodes`, which is ComfyUI's; ComfyUI itself uses the folder's path


@pytest.fixture(scope="session")
def pack():
    """A function that imports one of the pack's modules as ComfyUI would: `pack("nodes.attention.unet")`."""
    sys.path.append(str(find_comfyui()))
    # no import at the top: a run without these tests needs no ComfyUI
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    spec = importlib.util.spec_from_file_location(
        PACK_NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    sys.modules[PACK_NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACK_NAME])
    return lambda name: importlib.import_module(f"{PACK_NAME}.{name}")


@pytest.fixture(scope="session")
def pocket_files(tmp_path_factory):
    """A folder of random pocket weights."""
    from tests.pocket_files import write_pocket_files

    return write_pocket_files(tmp_path_factory.mktemp("pocket"))


@pytest.fixture
def pocket(pack, pocket_files, monkeypatch):
    """`nodes.pocket_generator`, reading the random weights."""
    monkeypatch.setattr(pack("prefgen.pocket.shapes"), "FOLDER", pocket_files)
    return pack("nodes.pocket_generator")
