"""The pack's nodes: thin, one file a family. All that knows ComfyUI lives in this folder."""

from comfy_api.latest import ComfyExtension, io


class PrefGenExtension(ComfyExtension):
    """All nodes of the pack, in the order in which a graph uses them, its routes, LoRAs, and old names of nodes."""

    async def on_load(self) -> None:
        from server import PromptServer

        from . import owner, pocket_generator, replacements, routes

        routes.add_routes(PromptServer.instance)
        owner.note_users(PromptServer.instance)
        pocket_generator.offer_loras()
        await replacements.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        from . import (  # one import would take a line a name
            adapter,
            embedding,
            history,
            ip_adapter,
            model,
            people,
            pocket_generator,
            record,
            reno,
            score,
            show_profile,
        )

        taste = (history, record, show_profile, embedding, people)
        families = (pocket_generator, model, ip_adapter, *taste, adapter, reno, score)
        return [node for family in families for node in family.NODES]
