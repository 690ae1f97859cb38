"""BuildUserHistory and LoadUserHistory: where a user's pairs of liked and disliked images come from."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy_api.latest import io

from ..prefgen.history import PAIRS_FILE, UserHistory
from ..prefgen.pocket import shapes
from .images import from_comfy, to_comfy
from .types import HistoryType

HISTORY_TIP = "Connect to Encode User History, Preference Score or ReNO Optimize."


class BuildUserHistory(io.ComfyNode):
    """A history out of two batches: image i of one is paired with image i of the other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BuildUserHistory",
            display_name="Build User History",
            category="PrefGen",
            description="Pairs of images one person liked and disliked. Eight pairs work best; two already help.",
            search_aliases=["prefgen", "liked disliked", "ratings", "taste", "user preferences", "pairs"],
            inputs=[
                io.Image.Input("liked", tooltip="Images the person liked, as one batch."),
                io.Image.Input(
                    "disliked", tooltip="Images they disliked, as many: each is paired with the liked one of its place."
                ),
                io.String.Input(
                    "prompts",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the images were made for: a line for each pair, one line for all, or none.",
                ),
                io.String.Input("name", default="me", optional=True, tooltip="Whose taste it is; shown in messages."),
            ],
            outputs=[HistoryType.Output(display_name="history", tooltip=HISTORY_TIP)],
        )

    @classmethod
    def execute(cls, liked: torch.Tensor, disliked: torch.Tensor, prompts: str = "", name: str = "me") -> io.NodeOutput:
        lines = [line.strip() for line in prompts.strip("\n").splitlines()] if prompts.strip() else None
        images = from_comfy(liked, "liked"), from_comfy(disliked, "disliked")
        return io.NodeOutput(UserHistory.from_images(*images, lines, name))


def people_folder() -> Path:
    """Where the bundled people are: a folder each."""
    return shapes.FOLDER / "people"


def people() -> list[str]:
    """The bundled people, by name."""
    return sorted(path.parent.name for path in people_folder().glob(f"*/{PAIRS_FILE}"))


class LoadUserHistory(io.ComfyNode):
    """The history of one of the bundled people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadUserHistory",
            display_name="Load User History",
            category="PrefGen",
            description="The pairs of one of the bundled people, to try things with before you have your own.",
            search_aliases=["prefgen", "example user", "ada", "bo", "taste"],
            inputs=[io.Combo.Input("user", options=people(), tooltip="Whose history: the people in the pack.")],
            outputs=[
                HistoryType.Output(display_name="history", tooltip=HISTORY_TIP),
                io.Image.Output(display_name="liked", tooltip="The images they liked, to look at."),
                io.Image.Output(display_name="disliked", tooltip="The images they disliked, pair by pair."),
            ],
        )

    @classmethod
    def execute(cls, user: str) -> io.NodeOutput:
        history = UserHistory.from_folder(people_folder() / user)
        liked = torch.stack([pair.liked for pair in history.pairs])
        disliked = torch.stack([pair.disliked for pair in history.pairs])
        return io.NodeOutput(history, to_comfy(liked), to_comfy(disliked))


NODES = [BuildUserHistory, LoadUserHistory]
