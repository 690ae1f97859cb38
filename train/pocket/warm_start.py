"""Initialises the user tokens as text states of favourite values, which shortens the adapter's training.

The key and value projections start as copies of the text projections, as in IP-Adapter. The token projections start as
a ridge regression from user embeddings to the text states of the agents' favourite values. So the initial user tokens
are close to text states, which the UNet was trained with. This initialisation is our choice; PrefGen does not describe
its initialisation.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from prefgen.adapter import PreferenceAdapter
from train.adapter.initialisation import initialise_from_text
from train.data.agents import World, by_attribute
from train.data.posters import ATTRIBUTES
from train.pocket.agent_embeddings import AgentEmbeddings
from train.pocket.ridge import ridge
from train.pocket.text import END, TextEncoders, tokenize, vocabulary

# Attributes that the tokens of each part represent initially. The palette is the most visible attribute, so two parts
# start with it.
BEGINS_WITH = {"sem": ("palette", "composition"), "core": ("finish", "texture"), "img": ("palette", "finish")}
PENALTY = 30.0


@torch.no_grad()
def warm_start(
    adapter: PreferenceAdapter, unet: UNet2DConditionModel, encode: TextEncoders, agents: AgentEmbeddings, world: World
) -> None:
    """Initialise the adapter's weights in place."""
    initialise_from_text(adapter, unet)
    for part, attributes in BEGINS_WITH.items():
        x = getattr(agents.parts, part)
        x = adapter.alignment(x) if part == "sem" else x
        target_states = [favourite_states(encode, agents.utilities, name) for name in attributes]
        projection = adapter.projections[part]
        fit_ridge(projection.linear, x, torch.cat(target_states, dim=1))
        projection.norm.weight.fill_(float(torch.stack(target_states).std(-1).mean()))


def favourite_states(encode: TextEncoders, utilities: np.ndarray, name: str) -> Tensor:
    """Return the text state (N, C) of each agent's favourite value of an attribute, from utilities (N, 24)."""
    best = by_attribute(utilities)[name].argmax(1)
    return value_states(encode, name)[torch.from_numpy(best)]


def value_states(encode: TextEncoders, name: str) -> Tensor:
    """Return the text states of an attribute's values at their last tokens, (values, C)."""
    phrases = [f"a poster, {phrase}" for phrase in ATTRIBUTES[name].values()]
    end = (tokenize(phrases) == vocabulary().index(END)).int().argmax(1)
    return encode(phrases)[0][torch.arange(len(phrases)), end - 1]


def fit_ridge(linear: torch.nn.Linear, x: Tensor, y: Tensor) -> None:
    """Set a linear layer to a ridge regression from standardised x (N, in) to y (N, out)."""
    ((weight, bias),) = ridge([x], y, PENALTY)
    linear.weight.copy_(weight)
    linear.bias.copy_(y.mean(0) + bias)
