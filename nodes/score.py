"""PreferenceScore: scores images for one user, and sorts them."""

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
    """Computes Q of each image, the probability that the user likes it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreferenceScore",
            display_name="Score Images (Preference Score)",  # search ranks names before aliases
            category="PrefGen",
            description="Scores images for one user, from 0 (dislike) to 1 (like), and sorts them.",
            search_aliases=[
                "prefgen",
                "score",
                "taste",
                "rank images",
                "sort images",
                "aesthetic score",
                "best of batch",
                "prefdisc",
                "rating",
            ],
            is_output_node=True,
            inputs=[
                PreferenceModelType.Input("preference_model", tooltip="Preference model that scores the images."),
                HistoryType.Input("history", tooltip="The user's pairs of liked and disliked images."),
                io.Image.Input("images", tooltip="Images to score, as one batch."),
                io.String.Input("prompt", default="", multiline=True, tooltip="Prompt that the images were made with."),
            ],
            outputs=[
                io.Float.Output(
                    display_name="scores",
                    is_output_list=True,
                    tooltip="Score of each image, in batch order.",
                ),
                io.Int.Output(
                    display_name="ranking",
                    is_output_list=True,
                    tooltip="Batch indices of the images (from 0), best first.",
                ),
                io.Image.Output(display_name="best", tooltip="Image with the highest score."),
                io.Image.Output(display_name="sorted", tooltip="All images, best first."),
                io.Image.Output(display_name="chart", tooltip="Images with their scores as bars, best first."),
            ],
        )

    @classmethod
    def execute(
        cls, preference_model: PreferenceModel, history: UserHistory, images: torch.Tensor, prompt: str
    ) -> io.NodeOutput:
        candidates = from_comfy(images, "images")
        prefdisc = preference_model.require("prefdisc")
        load_to_device(preference_model, "prefdisc", memory=prefdisc.working_bytes(len(candidates)))
        progress = comfy.utils.ProgressBar(len(candidates))
        prefix = preference_model.encode_history(history)
        chunks = []
        for chunk in candidates.split(CHUNK_SIZE):
            comfy.model_management.throw_exception_if_processing_interrupted()
            chunks.append(prefdisc.score(prefix, chunk, prompt).float().cpu())
            progress.update(len(chunk))
        scores = torch.cat(chunks)
        order = scores.argsort(descending=True, stable=True)
        ranked = images[order]
        chart = chart_image(ranked[..., :3], scores[order], f"{history.name}: {prompt}" if prompt else history.name)
        values, ranking = scores.tolist(), order.tolist()
        result = {"scores": values, "ranking": ranking, "text": [", ".join(f"{value:.3f}" for value in values)]}
        return io.NodeOutput(values, ranking, ranked[:1], ranked, chart, ui=result)


NODES = [PreferenceScore]
