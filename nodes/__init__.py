"""The nodes, with one module for each group of related nodes. All code that depends on ComfyUI is in this folder."""

from comfy_api.latest import ComfyExtension, io


class PrefGenExtension(ComfyExtension):
    """Registers the nodes (in the order in which a graph uses them), the HTTP routes, and the bundled LoRAs."""

    async def on_load(self) -> None:
        from server import PromptServer

        from . import pocket_generator, replacements
        from .server import request_user, routes

        routes.add_routes(PromptServer.instance)
        request_user.install_user_tracking(PromptServer.instance)
        pocket_generator.register_lora_folder()
        await replacements.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        from . import (
            apply_adapter,
            embedding,
            embedding_files,
            history,
            load_clip_vision_model,
            load_ip_adapter,
            load_model,
            pocket_generator,
            record_preference,
            reno,
            score,
            show_profile,
        )

        loaders = (pocket_generator, load_model, load_ip_adapter, load_clip_vision_model)
        taste = (history, record_preference, show_profile, embedding, embedding_files)
        return [node for family in (*loaders, *taste, apply_adapter, reno, score) for node in family.NODES]
