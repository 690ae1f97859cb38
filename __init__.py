"""PrefGen: ComfyUI's door. Nothing heavy is imported here, so that the pack costs ComfyUI's start next to nothing."""

WEB_DIRECTORY = "./web"
"""What the browser gets: docs/<NodeId>.md is a node's help page."""


async def comfy_entrypoint():
    """Return the pack's extension; ComfyUI calls this once, when it loads custom nodes."""
    from .nodes import PrefGenExtension

    return PrefGenExtension()
