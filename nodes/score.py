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
from .images import batches_by_size, list_images
from .inputs import check_inputs
from .memory.model_management import load_scorer
from .sockets import HistoryType, PreferenceModelType


class PreferenceScore(io.ComfyNode):
    """Computes a score Q for each image: the probability that the user likes the image."""

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
                io.Image.Input("images", tooltip="Images to score: a batch, or a list of images of any sizes."),
                io.String.Input("prompt", default="", multiline=True, tooltip="Prompt that the images were made with."),
            ],
            outputs=[
                io.Float.Output(
                    display_name="scores",
                    is_output_list=True,
                    tooltip="Score of each image, in their order.",
                ),
                io.Int.Output(
                    display_name="ranking",
                    is_output_list=True,
                    tooltip="Positions of the images (from 0), best first.",
                ),
                io.Image.Output(display_name="best", tooltip="Image with the highest score."),
                io.Image.Output(
                    display_name="sorted",
                    is_output_list=True,
                    tooltip="All images, best first: one batch, or a list if their sizes differ.",
                ),
                io.Image.Output(display_name="chart", tooltip="Images with their scores as bars, best first."),
            ],
            is_input_list=True,
        )

    @classmethod
    @check_inputs
    def execute(
        cls, preference_model: PreferenceModel, history: UserHistory, images: list[torch.Tensor], prompt: str
    ) -> io.NodeOutput:
        candidates = list_images(images, "images")
        scorer = load_scorer(preference_model, len(candidates))
        progress = comfy.utils.ProgressBar(len(candidates))
        prefix = preference_model.encode_history(history)
        scores = torch.empty(len(candidates))
        for indices, batch in batches_by_size(candidates):
            for chunk, positions in zip(batch.split(CHUNK_SIZE), torch.tensor(indices).split(CHUNK_SIZE), strict=True):
                comfy.model_management.throw_exception_if_processing_interrupted()
                scores[positions] = scorer.score(prefix, chunk, prompt).float().cpu()
                progress.update(len(chunk))
        order = scores.argsort(descending=True, stable=True)
        values, ranking = scores.tolist(), order.tolist()
        originals = [image for batch in images for image in batch]
        ranked = [originals[index] for index in ranking]
        title = f"{history.name}: {prompt}" if prompt else history.name
        chart = chart_image([image[..., :3] for image in ranked], scores[order], title)
        one_batch = len({image.shape for image in ranked}) == 1
        in_order = [torch.stack(ranked)] if one_batch else [image[None] for image in ranked]
        result = {"scores": values, "ranking": ranking, "text": [", ".join(f"{value:.3f}" for value in values)]}
        return io.NodeOutput(values, ranking, in_order[0][:1], in_order, chart, ui=result)


NODES = [PreferenceScore]
