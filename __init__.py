"""Entry point of the ComfyUI extension. Imports no heavy modules, so that it does not slow down ComfyUI's start."""

WEB_DIRECTORY = "./web"
"""Folder that ComfyUI serves to the browser. docs/<NodeId>.md is a node's help page."""

MIN_COMFYUI = (0, 16, 3)
"""The oldest ComfyUI version with the node schema that the pack uses. Keep it equal to the one in `pyproject.toml`."""


async def comfy_entrypoint():
    """Return the pack's extension; ComfyUI calls this once, when it loads custom nodes.

    Raises:
        RuntimeError: ComfyUI is too old. ComfyUI logs the message.
    """
    from comfyui_version import __version__ as version

    if tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) < MIN_COMFYUI:
        required = ".".join(map(str, MIN_COMFYUI))
        raise RuntimeError(f"PrefGen needs ComfyUI {required} or later; found {version}. Update ComfyUI.")
    from .nodes import PrefGenExtension

    return PrefGenExtension()
