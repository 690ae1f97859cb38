"""Scores choice trials with PrefDisc in packed batches: each history is processed once for all of its targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.packing import PackedBatch, PackedStates, Target, pack
from train.evaluate.choice_trials import Gallery

BATCH = 50
"""Users in one forward pass (our choice): about 15,000 tokens with the pocket model."""


@dataclass(frozen=True)
class EncodedGallery:
    """A gallery with its PrefDisc image tokens.

    Attributes:
        prefdisc: The model.
        gallery: The posters.
        features: Image tokens of every poster, (N, latents, D).
        use_prompts: Whether chat turns contain the prompts.
    """

    prefdisc: PrefDisc
    gallery: Gallery
    features: Tensor
    use_prompts: bool = True


def preference_scores(logits: Tensor) -> np.ndarray:
    """Return the preference score Q = exp M+ / (exp M+ + exp M-): logits (..., 2) -> (...)."""
    return logits.softmax(-1)[..., 0].numpy()


def score_targets(encoded: EncodedGallery, history: np.ndarray, targets: np.ndarray, desc: str = "") -> np.ndarray:
    """Score every target after the full history.

    Args:
        encoded: The encoded gallery.
        history: Gallery indices (n, k, 2).
        targets: Gallery indices (n, m, c), c even.
        desc: Text of the progress bar.

    Returns:
        Scores, (n, m, c).
    """
    return score_after_pairs(encoded, history, targets, [history.shape[1]], desc)[0]


def score_after_pairs(
    encoded: EncodedGallery, history: np.ndarray, targets: np.ndarray, pairs_seen: list[int], desc: str = ""
) -> np.ndarray:
    """Score every target after the first `pairs_seen` pairs of the history, for several values in one forward pass.

    Args:
        encoded: The encoded gallery.
        history: Gallery indices (n, k, 2).
        targets: Gallery indices (n, m, c), c even, because a packed target consists of two images.
        pairs_seen: Numbers of pairs to score after.
        desc: Text of the progress bar.

    Returns:
        Scores, (len(pairs_seen), n, m, c).
    """
    n, m, c = targets.shape
    pairs = np.tile(targets.reshape(n, m * c // 2, 2), (1, len(pairs_seen), 1))
    after = np.repeat(pairs_seen, m * c // 2).tolist()
    parts = [states.logits.float().cpu() for states, _ in packed_forward(encoded, history, pairs, after, desc=desc)]
    return preference_scores(torch.cat(parts)).reshape(n, len(pairs_seen), m, c).swapaxes(0, 1)


def score_without_history(encoded: EncodedGallery, desc: str = "with no history") -> np.ndarray:
    """Score every poster of the gallery without a history: (N,). These scores do not depend on the user."""
    pairs = np.arange(len(encoded.gallery.attributes)).reshape(-1, 1, 2)
    parts = [states.logits.float().cpu() for states, _ in packed_forward(encoded, pairs[:, :0], pairs, [0], desc=desc)]
    return preference_scores(torch.cat(parts)).reshape(-1)


def target_hidden_states(encoded: EncodedGallery, history: np.ndarray, rows: np.ndarray, desc: str = "") -> np.ndarray:
    """Return the last layer's hidden states at the label position of each target, after the full history.

    Args:
        encoded: The encoded gallery.
        history: Gallery indices (n, k, 2).
        rows: Gallery indices of the targets, (n, m).
        desc: Text of the progress bar.

    Returns:
        Hidden states, (n, m, D).
    """
    # A packed target consists of two images that do not attend to each other; here both are the same image.
    pairs, after = np.stack([rows, rows], axis=-1), [history.shape[1]] * rows.shape[1]
    hidden = []
    for states, packed in packed_forward(encoded, history, pairs, after, desc=desc):
        users = torch.arange(len(packed.prediction_positions), device=states.hidden.device)[:, None]
        hidden.append(states.hidden[users, packed.prediction_positions[..., 0]].float().cpu())
    return torch.cat(hidden).numpy()


def sem_embeddings(encoded: EncodedGallery, history: np.ndarray, desc: str = "encoding histories") -> np.ndarray:
    """Compute the `sem` embeddings of users: hidden states of the last history token, averaged over the sem layers.

    Matches prefgen.embedding. `history` has gallery indices (n, k, 2) with k >= 1; the result is (n, D).
    """
    embeddings = []
    for states, packed in packed_forward(encoded, history, history[:, :1], [0], every_layer=True, desc=desc):
        last = packed.history_end_positions(encoded.prefdisc.template)
        users = torch.arange(len(last), device=last.device)
        layers = torch.stack([states.layers[i][users, last] for i in encoded.prefdisc.spec.sem_layers])
        embeddings.append(layers.mean(0).float().cpu())
    return torch.cat(embeddings).numpy()


@torch.no_grad()
def packed_forward(
    encoded: EncodedGallery,
    history: np.ndarray,
    pairs: np.ndarray,
    after: list[int],
    every_layer: bool = False,
    desc: str = "",
) -> Iterator[tuple[PackedStates, PackedBatch]]:
    """Run PrefDisc on packed sequences, one batch of users at a time.

    Args:
        encoded: The encoded gallery.
        history: Gallery indices (n, k, 2).
        pairs: Gallery indices of the targets, two images each, (n, T, 2).
        after: Number of history pairs that precede each of the T targets.
        every_layer: Whether to return the hidden states of all layers.
        desc: Text of the progress bar.

    Yields:
        The states and the packed sequences of each batch.
    """
    device = encoded.prefdisc.device
    encoded.prefdisc.eval()
    for start in tqdm(range(0, len(history), BATCH), desc=desc, unit_scale=BATCH, unit="users", mininterval=2):
        histories, targets = history[start : start + BATCH], pairs[start : start + BATCH]
        packed = pack(encoded.prefdisc.template, _histories(encoded, histories), _targets(encoded, targets, after)).to(
            device
        )
        rows = torch.from_numpy(np.concatenate([histories, targets], axis=1).reshape(len(histories), -1))
        yield encoded.prefdisc(packed, encoded.features[rows].to(device, encoded.prefdisc.dtype), every_layer), packed


def _histories(encoded: EncodedGallery, rows: np.ndarray) -> list[list[str]]:
    return [_prompts(encoded, user) for user in rows]


def _targets(encoded: EncodedGallery, rows: np.ndarray, after: list[int]) -> list[list[Target]]:
    return [list(map(Target, after, _prompts(encoded, user))) for user in rows]


def _prompts(encoded: EncodedGallery, pairs: np.ndarray) -> list[str]:
    """Return the prompt of each pair (k, 2), or empty prompts for a variant without prompts."""
    return encoded.gallery.prompts(pairs[:, 0]).tolist() if encoded.use_prompts else [""] * len(pairs)
