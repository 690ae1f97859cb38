"""A linear probe: how much of something can be read out of states by a linear classifier, layer by layer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from train.evaluate.statistics import Estimate, mean_over_users
from train.probe.states import ProbeStates

AXES = 128
"""Principal axes that are read: a 4,096-wide state has far more directions than there are histories (default ours)."""
PENALTY = 0.1  # sklearn's C, the inverse of the ridge (default ours)


@dataclass(frozen=True)
class LayerAccuracy:
    """Accuracy on the half that was not learnt from, by layer: index 0 is the embedding. inter: which user it is, and
    its chance; intra: liked or disliked, of chance 0.5. The user is the unit of the errors."""

    inter: list[Estimate]
    intra: list[Estimate]
    chance: float


def probe(learn: ProbeStates, test: ProbeStates) -> LayerAccuracy:
    """Both probes on every layer."""
    layers = range(learn.histories.shape[1])
    users = int(learn.user.max()) + 1
    inter = [_right(learn.histories[:, i], learn.user, test.histories[:, i], test.user) for i in layers]
    intra = [_right(learn.targets[:, i], learn.liked, test.targets[:, i], test.liked) for i in layers]
    return LayerAccuracy(
        [mean_over_users(right.reshape(users, -1)) for right in inter],
        [mean_over_users(right.reshape(users, -1)) for right in intra],
        1 / users,
    )


def _right(learn: Tensor, labels: np.ndarray, test: Tensor, truth: np.ndarray) -> np.ndarray:
    """Whether each test state (m, D) is read rightly by a classifier of the others (n, D)."""
    x, y = learn.float().numpy(), test.float().numpy()
    axes = min(AXES, *x.shape)
    classifier = make_pipeline(StandardScaler(), PCA(axes, random_state=0), LogisticRegression(C=PENALTY, max_iter=200))
    with warnings.catch_warnings():
        # At the embedding all states can be the same token's: nothing to read, and that is an answer.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return classifier.fit(x, labels).predict(y) == truth
