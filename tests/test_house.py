"""Rules of the code base: one-way imports, no circles, short files, clear names, nothing dangerous at run time."""

import ast
import re
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACK = ("prefgen", "nodes")
FOLDERS = (*PACK, "train", "demo", "benchmarks", "scripts", "tests")
HEAVY = {"torch", "transformers", "diffusers", "peft", "open_clip", "bitsandbytes", "imscore", "accelerate", "datasets"}
OPTIONAL = {"peft", "bitsandbytes", "open_clip", "imscore", "diffusers", "accelerate", "pyarrow"}
UNPICKLER = (
    ROOT / "prefgen" / "checkpoint" / "convert" / "pickled.py"
)  # reads what others published as pickles, tensors alone
LONGEST = 300
PUBLIC_ARCHIVE_LIMIT = 40 * 2**20  # bytes of shipped weights


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=[str(path.relative_to(ROOT)) for path in paths])


def imports(tree, everywhere=True):
    """Return the first names of absolute imports, and relative imports as dots and name.

    everywhere: also inside functions, not only at module level.
    """
    found = set()
    for node in ast.walk(tree) if everywhere else module_level(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or "") if node.level else node.module.split(".")[0])
    return found


def module_level(tree):
    """Yield every node that runs at import: all except the bodies of functions."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


@named(sources(*PACK, "train"))
def test_imports_go_one_way(path):
    tree = ast.parse(path.read_text())
    folder = path.relative_to(ROOT).parts[0]
    depth = len(path.relative_to(ROOT).parts) - 1  # dots that stay inside the folder
    found = imports(tree)
    foreign = {
        "prefgen": {
            "comfy",
            "comfy_api",
            "comfy_extras",
            "folder_paths",
            "node_helpers",
            "latent_preview",
            "nodes",
            "train",
        },
        "nodes": {
            "train",
            "prefgen",
            "nodes",
            "demo",
            "tests",
        },  # prefgen is imported relatively: the pack has a path-made name
        "train": {"comfy", "comfy_api", "comfy_extras", "folder_paths", "nodes"},
    }[folder]
    assert not found & foreign, f"{folder} must not import {found & foreign}"
    outside = {name for name in found if name.startswith("." * (depth + 1))}
    allowed = {name for name in outside if folder == "nodes" and name.startswith("." * (depth + 1) + "prefgen")}
    assert outside == allowed, f"{outside - allowed} leaves {folder}"
    if folder == "prefgen":
        assert "prefgen" not in found, "inside prefgen imports are relative"


@named(sources("prefgen"))
def test_optional_packages_are_imported_where_they_are_used(path):
    assert not imports(ast.parse(path.read_text()), everywhere=False) & OPTIONAL


@named([path for path in sources(*PACK) if path.name == "__init__.py"] + [ROOT / "__init__.py"])
def test_package_files_import_nothing_heavy(path):
    assert not imports(ast.parse(path.read_text()), everywhere=False) & HEAVY


@named(sources("nodes"))
def test_nodes_start_without_transformers(path):
    assert not imports(ast.parse(path.read_text()), everywhere=False) & (HEAVY - {"torch"})


def modules(*folders):
    """Return the source files by dotted module name."""
    named_files = {}
    for path in sources(*folders):
        parts = path.relative_to(ROOT).with_suffix("").parts
        named_files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named_files


def imported_modules(name, path, known):
    """Return the known modules that a module imports when it is loaded."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    targets = set()
    for node in module_level(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = f"{target}.{alias.name}"
                targets.add(submodule if submodule in known else target)
    return targets & known.keys() - {name}


def test_there_is_no_import_circle():
    known = modules(*PACK, "train")
    graph = {name: imported_modules(name, path, known) for name, path in known.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


def test_nodes_are_few_and_modules_have_clear_names():
    assert len(list((ROOT / "nodes").glob("*.py"))) - 1 <= 20, "beside __init__.py"
    unclear = {
        *("say", "room", "owner", "trouble", "shown", "rated", "answers", "checked", "given", "finite", "rows"),
        *("out_of_place", "people", "weights", "words", "likeness", "kept", "found", "climb", "search", "held_out"),
        *("single", "taste", "nobody", "managed", "ready", "whole", "views"),
    }
    assert not [path for path in sources(*PACK) if path.stem in unclear]


@named(sources(*FOLDERS))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST


@named(sources(*PACK))
def test_the_pack_prints_evaluates_and_unpickles_nothing(path):
    tree = ast.parse(path.read_text())
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = imports(tree)
    if path == UNPICKLER:
        calls -= {"torch.load"}
        found -= {"pickle"}
    assert not calls & {
        "print",
        "eval",
        "exec",
        "compile",
        "input",
        "__import__",
        "pickle.load",
        "pickle.loads",
        "torch.load",
    }
    assert not found & {
        "pickle",
        "subprocess",
        "requests",
        "urllib",
        "socket",
        "marshal",
        "shelve",
        "importlib",
    }
    assert "os.environ[" not in ast.unparse(tree)


def test_the_converter_unpickles_tensors_alone():
    tree = ast.parse(UNPICKLER.read_text())
    loads = [
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call) and "load" in ast.unparse(node.func)
    ]
    assert [call for call in loads if call.startswith("torch.load")]
    assert all("weights_only=True" in call for call in loads if call.startswith("torch."))
    brought = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "pickle"]
    assert [alias.name for node in brought for alias in node.names] == ["UnpicklingError"], "an error's name, no reader"


@named(sources(*PACK))
def test_errors_are_of_the_family(path):
    raised = {
        ast.unparse(node.exc)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and node.exc
    }
    assert not [text for text in raised if re.match(r"(Exception|BaseException|AssertionError)\b", text)]
    asserted = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
    assert not asserted, "assert does not check input: python -O removes it"


@named(sources(*PACK))
def test_public_things_are_documented(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "every module has a docstring"
    bare = [
        node.name
        for node in tree.body
        if (isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and len(node.body) > 1))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not bare


def test_the_metadata_agrees_with_itself():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert wanted == project["dependencies"]
    assert "comfyui" not in project["name"].lower(), "the registry refuses such names"
    assert not [line for line in project["dependencies"] if "==" in line or "<" in line], "ComfyUI owns the versions"
    assert "transformers>=4.50.3" in wanted, "ComfyUI 0.30's own bound: an installation must not change the version"
    required = {re.split(r"[<>=; ]", line)[0].lower() for line in wanted}
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    optional = {re.split(r"[<>=; ]", line)[0].lower() for line in extras}
    at_import = {name for path in sources(*PACK) for name in imports(ast.parse(path.read_text()), everywhere=False)}
    packages = {
        "torch": "torch",
        "numpy": "numpy",
        "PIL": "pillow",
        "safetensors": "safetensors",
        "filelock": "filelock",
    }
    assert {packages[name] for name in at_import & set(packages)} <= required, "imported at once means required"
    assert {"peft", "accelerate", "open_clip_torch", "imscore", "bitsandbytes", "pyarrow"} <= optional - required
    assert (
        f"[{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
        or "[Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
    )
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_lock_pins_everything():
    lines = (ROOT / "requirements" / "environment.lock").read_text().splitlines()
    assert lines
    assert not [line for line in lines if line and not line.startswith("#") and not re.match(r"[\w.-]+==[\w.+]+", line)]


def test_shipped_weights_are_safetensors_and_small():
    shipped = [path for folder in PACK for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in shipped if path.suffix == ".safetensors") <= PUBLIC_ARCHIVE_LIMIT
    assert not [path for path in shipped if path.suffix in {".pt", ".pth", ".ckpt", ".bin", ".pkl"}]
