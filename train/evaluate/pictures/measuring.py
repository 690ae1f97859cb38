"""One row's pictures, measured: every picture by itself, in arrays whose first axis are the agents."""

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
from train.evaluate.pictures.eyes import PocketEyes
from train.evaluate.pictures.measures import mean_cosine, spread

BATCH = 128


@dataclass(frozen=True)
class Measured:
    """n agents, m pictures each, of m / seeds prompts.

    utility (n, m): the agent's true one of what the judge reads; read (n, m, 6): what it reads, as indices. obeyed (n,
    m): whether the subject it reads is the named one. score (n, m): PrefDisc's with the agent's history. clip_img,
    style (n, m): mean cosine with the history's liked images. clip_text (n, m): cosine with the prompt;
    clip_favourites: with the prompt that has the agent's favourites written out, whatever was painted from. diversity,
    pixels (n, prompts): mean distance between seeds, of CLIP embeddings and of pixels (root mean square). embedding
    (n, m, D).
    """

    utility: np.ndarray
    read: np.ndarray
    obeyed: np.ndarray
    score: np.ndarray
    clip_img: np.ndarray
    clip_text: np.ndarray
    clip_favourites: np.ndarray
    style: np.ndarray
    diversity: np.ndarray
    pixels: np.ndarray
    embedding: np.ndarray

    def some(self, rows: np.ndarray) -> Measured:
        """Of a few agents."""
        return Measured(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Instruments:
    """What the pictures of some agents are looked at with. judge: None where something is to be chosen, in which it has
    no part: then nothing is read, and utility and obedience are NaN."""

    model: PreferenceModel
    judge: Judge | None
    eyes: PocketEyes
    agents: Agents

    def measure(self, images: Tensor, rows: np.ndarray, desc: str = "") -> Measured:
        """The pictures of some of the agents, by index: uint8 (len(rows), m, 3, 96, 96), each with its own agent's
        numbers."""
        (n, m), agents = images.shape[:2], self.agents
        (embedding, styles), (liked, liked_styles) = self.eyes.look(images), self._liked
        prompt, favourites = self._texts
        unknown = np.full((n, m), np.nan)
        read = self.read(images) if self.judge else np.zeros((n, m, 0), dtype=int)
        by_prompt = (n, m // SEEDS, SEEDS, -1)
        pixels = images.float().numpy().reshape(by_prompt) / 255
        return Measured(
            utility=utility_of(agents.utilities[rows, None], read) if self.judge else unknown,
            read=read,
            obeyed=read[..., 0] == agents.subjects[rows] if self.judge else unknown,
            score=self._scores(images, rows, desc),
            clip_img=mean_cosine(embedding, liked[rows]),
            clip_text=(embedding * prompt[rows]).sum(-1),
            clip_favourites=(embedding * favourites[rows]).sum(-1),
            style=mean_cosine(styles, liked_styles[rows]),
            diversity=spread(embedding.reshape(by_prompt)),
            pixels=spread(pixels) / pixels.shape[-1] ** 0.5,
            embedding=embedding,
        )

    def read(self, images: Tensor) -> np.ndarray:
        """What the judge reads: uint8 (..., 3, 96, 96) -> attribute indices (..., 6)."""
        flat = images.reshape(-1, *images.shape[-3:])
        found = [[read.indices for read in self.judge.read(batch)] for batch in flat.split(BATCH)]
        return np.concatenate(found).reshape(*images.shape[:-3], len(ATTRIBUTES))

    @cached_property
    def _liked(self) -> tuple[np.ndarray, np.ndarray]:
        """CLIP embeddings and styles of the histories' liked images, (n, 8, ...)."""
        return self.eyes.look(self.agents.liked)

    @cached_property
    def _texts(self) -> tuple[np.ndarray, np.ndarray]:
        """CLIP embeddings of the prompts, and of the prompts with the favourites written out: (n, m, D)."""
        told = (self.agents.prompts, self.agents.written_out())
        return tuple(np.stack([self.eyes.text(own) for own in texts]) for texts in told)

    @torch.no_grad()
    def _scores(self, images: Tensor, rows: np.ndarray, desc: str) -> np.ndarray:
        """PrefDisc's score of each picture, after the agent's history and with the prompt: (n, m)."""
        prefdisc, found = self.model.require("prefdisc"), []
        everyone = zip(rows.tolist(), images, strict=True)
        for row, own in tqdm(everyone, desc=f"scoring {desc}", total=len(rows), unit="agents", mininterval=2):
            pictures = (own.float() / 255).to(prefdisc.device)
            scores = prefdisc.score(self.agents.prefixes[row], pictures, self.agents.prompts[row])
            found.append(scores.float().cpu().numpy())
        return np.stack(found)
