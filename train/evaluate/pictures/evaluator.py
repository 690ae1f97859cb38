"""Measures generated pictures: attributes, true utility, preference score, CLIP similarities and diversity."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.checkpoint.preference_model import PreferenceModel
from train.data.agents import utility_of
from train.data.posters import ATTRIBUTES
from train.evaluate.judge import Judge
from train.evaluate.pictures.agents import SEEDS, Agents
from train.evaluate.pictures.image_features import PocketFeatures
from train.evaluate.pictures.metrics import mean_cosine, spread

BATCH = 128


@dataclass(frozen=True)
class PictureMetrics:
    """Metrics of m pictures for each of n agents.

    Attributes:
        utility: The agent's true utility of the attributes that the judge predicts, (n, m).
        attributes: Attribute indices that the judge predicts, (n, m, 6).
        subject_correct: Whether the predicted subject is the prompted one, (n, m).
        score: PrefDisc's score with the agent's history, (n, m).
        clip_img: Mean CLIP cosine with the liked images of the history, (n, m).
        clip_text: CLIP cosine with the prompt, (n, m).
        clip_favourites: CLIP cosine with the prompt plus the agent's favourites, even if the picture was generated
            from the prompt alone, (n, m).
        style: Mean style cosine with the liked images of the history, (n, m).
        diversity: Mean distance of CLIP embeddings between seeds, (n, prompts).
        pixel_diversity: Root-mean-square pixel distance between seeds, (n, prompts).
        embedding: CLIP embeddings, (n, m, D).
    """

    utility: np.ndarray
    attributes: np.ndarray
    subject_correct: np.ndarray
    score: np.ndarray
    clip_img: np.ndarray
    clip_text: np.ndarray
    clip_favourites: np.ndarray
    style: np.ndarray
    diversity: np.ndarray
    pixel_diversity: np.ndarray
    embedding: np.ndarray

    def select(self, rows: np.ndarray) -> PictureMetrics:
        """Select agents by index."""
        return PictureMetrics(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class PictureEvaluator:
    """Measures pictures generated for given agents.

    Attributes:
        model: Preference model with a PrefDisc.
        judge: Classifier of poster attributes. With None, utility and subject_correct are NaN.
        features: CLIP and style features.
        agents: The agents.
    """

    model: PreferenceModel
    judge: Judge | None
    features: PocketFeatures
    agents: Agents

    def measure(self, images: Tensor, rows: np.ndarray, desc: str = "") -> PictureMetrics:
        """Measure pictures of the agents with indices `rows`: uint8, (len(rows), m, 3, 96, 96)."""
        (n, m), agents = images.shape[:2], self.agents
        (embedding, styles), (liked, liked_styles) = self.features.embed_with_style(images), self._liked
        prompt, favourites = self._texts
        unknown = np.full((n, m), np.nan)
        attributes = self.predict_attributes(images) if self.judge else np.zeros((n, m, 0), dtype=int)
        by_prompt = (n, m // SEEDS, SEEDS, -1)
        pixels = images.float().numpy().reshape(by_prompt) / 255
        return PictureMetrics(
            utility=utility_of(agents.utilities[rows, None], attributes) if self.judge else unknown,
            attributes=attributes,
            subject_correct=attributes[..., 0] == agents.subjects[rows] if self.judge else unknown,
            score=self._scores(images, rows, desc),
            clip_img=mean_cosine(embedding, liked[rows]),
            clip_text=(embedding * prompt[rows]).sum(-1),
            clip_favourites=(embedding * favourites[rows]).sum(-1),
            style=mean_cosine(styles, liked_styles[rows]),
            diversity=spread(embedding.reshape(by_prompt)),
            pixel_diversity=spread(pixels) / pixels.shape[-1] ** 0.5,
            embedding=embedding,
        )

    def predict_attributes(self, images: Tensor) -> np.ndarray:
        """Predict attribute indices (..., 6) of uint8 images (..., 3, 96, 96) with the judge."""
        flat = images.reshape(-1, *images.shape[-3:])
        indices = [[attributes.indices for attributes in self.judge.predict(batch)] for batch in flat.split(BATCH)]
        return np.concatenate(indices).reshape(*images.shape[:-3], len(ATTRIBUTES))

    @cached_property
    def _liked(self) -> tuple[np.ndarray, np.ndarray]:
        """CLIP embeddings and style features of the liked images of the histories, (n, 8, ...)."""
        return self.features.embed_with_style(self.agents.liked_images)

    @cached_property
    def _texts(self) -> tuple[np.ndarray, np.ndarray]:
        """CLIP embeddings of the prompts, and of the prompts with the favourites appended: (n, m, D)."""
        prompts_by_kind = (self.agents.prompts, self.agents.prompts_with_favourites())
        return tuple(np.stack([self.features.embed_text(prompts) for prompts in texts]) for texts in prompts_by_kind)

    @torch.no_grad()
    def _scores(self, images: Tensor, rows: np.ndarray, desc: str) -> np.ndarray:
        """Score each picture with PrefDisc, given the agent's history and the prompt: (n, m)."""
        prefdisc, scores = self.model.require("prefdisc"), []
        images_by_agent = zip(rows.tolist(), images, strict=True)
        for row, agent_images in tqdm(
            images_by_agent, desc=f"scoring {desc}", total=len(rows), unit="agents", mininterval=2
        ):
            pictures = (agent_images.float() / 255).to(prefdisc.device)
            agent_scores = prefdisc.score(self.agents.prefixes[row], pictures, self.agents.prompts[row])
            scores.append(agent_scores.float().cpu().numpy())
        return np.stack(scores)
