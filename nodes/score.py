"""PreferenceScore: how much a person would like each image."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io

from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.history import UserHistory
from ..prefgen.prefdisc.model import CHUNK_SIZE
from .drawing.score_chart import chart_image
from .images import from_comfy
from .memory.model_management import load_to_device
from .sockets import HistoryType, PreferenceModelType


class PreferenceScore(io.ComfyNode):
    """Q of every image: the probability that the person likes it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreferenceScore",
            display_name="Preference Score",
            category="PrefGen",
            description="Scores images for one person, from 0 (would dislike) to 1 (would like), and sorts them.",
            search_aliases=["prefgen", "rank images", "aesthetic score", "best of batch", "prefdisc", "rating"],
            is_output_node=True,
            inputs=[
                PreferenceModelType.Input("model", tooltip="The preference model that scores."),
                HistoryType.Input("history", tooltip="Whose taste: their pairs of liked and disliked images."),
                io.Image.Input("images", tooltip="The images to score, as one batch."),
                io.String.Input("prompt", default="", multiline=True, tooltip="What the images were made for."),
            ],
            outputs=[
                io.Float.Output(
                    display_name="scores", is_output_list=True, tooltip="The score of each image, in the batch's order."
                ),
                io.Int.Output(
                    display_name="ranking", is_output_list=True, tooltip="Places in the batch (from 0), best first."
                ),
                io.Image.Output(display_name="best", tooltip="The image with the highest score."),
                io.Image.Output(display_name="sorted", tooltip="All images, best first."),
                io.Image.Output(display_name="chart", tooltip="The images with their scores as bars, best first."),
            ],
        )

    @classmethod
    def execute(cls, model: PreferenceModel, history: UserHistory, images: torch.Tensor, prompt: str) -> io.NodeOutput:
        candidates = from_comfy(images, "images")
        prefdisc = model.require("prefdisc")
        load_to_device(model, "prefdisc", memory=prefdisc.working_bytes(len(candidates)))
        progress = comfy.utils.ProgressBar(len(candidates))
        prefix = model.encode_history(history)
        parts = []
        for part in candidates.split(CHUNK_SIZE):
            comfy.model_management.throw_exception_if_processing_interrupted()
            parts.append(prefdisc.score(prefix, part, prompt).float().cpu())
            progress.update(len(part))
        scores = torch.cat(parts)
        order = scores.argsort(descending=True, stable=True)
        ranked = images[order]
        chart = chart_image(ranked[..., :3], scores[order], f"{history.name}: {prompt}" if prompt else history.name)
        values, ranking = scores.tolist(), order.tolist()
        shown = {"scores": values, "ranking": ranking, "text": [", ".join(f"{value:.3f}" for value in values)]}
        return io.NodeOutput(values, ranking, ranked[:1], ranked, chart, ui=shown)


NODES = [PreferenceScore]
