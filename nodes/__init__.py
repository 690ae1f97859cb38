"""The pack's nodes: thin, one file a family. All that knows ComfyUI lives in this folder."""

from importlib import import_module
from pkgutil import iter_modules

from comfy_api.latest import ComfyExtension, io


class PrefGenExtension(ComfyExtension):
    """Every node class that a module of this folder lists in its `NODES`."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        modules = [import_module(f".{found.name}", __name__) for found in iter_modules(__path__)]
        return [node for module in modules for node in getattr(module, "NODES", [])]
