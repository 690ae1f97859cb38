"""Linear probes: classify hidden states layer by layer with logistic regression."""

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
from train.probe.hidden_states import ProbeStates

COMPONENTS = 128
"""Number of principal components of a state. The number is our choice.

States are reduced because there are fewer histories than dimensions (4,096 in Idefics2-8B).
"""
INVERSE_REGULARISATION = 0.1  # scikit-learn's C; the value is our choice


@dataclass(frozen=True)
class LayerAccuracy:
    """Test accuracy on each layer. Index 0 is the embedding. Errors are clustered by user.

    Attributes:
        inter: Accuracy of identifying the user.
        intra: Accuracy of distinguishing liked from disliked images (chance: 0.5).
        chance: Chance accuracy of `inter`.
    """

    inter: list[Estimate]
    intra: list[Estimate]
    chance: float


def probe_layers(train: ProbeStates, test: ProbeStates) -> LayerAccuracy:
    """Train and test both probes on every layer."""
    layers = range(train.histories.shape[1])
    users = int(train.user.max()) + 1
    inter = [_correct(train.histories[:, i], train.user, test.histories[:, i], test.user) for i in layers]
    intra = [_correct(train.targets[:, i], train.liked, test.targets[:, i], test.liked) for i in layers]
    return LayerAccuracy(
        [mean_over_users(correct.reshape(users, -1)) for correct in inter],
        [mean_over_users(correct.reshape(users, -1)) for correct in intra],
        1 / users,
    )


def _correct(train: Tensor, train_labels: np.ndarray, test: Tensor, test_labels: np.ndarray) -> np.ndarray:
    """Fit a classifier to states (n, D) and return whether it is correct on each test state (m, D)."""
    train, test = train.float().numpy(), test.float().numpy()
    components = min(COMPONENTS, *train.shape)
    regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=200)
    classifier = make_pipeline(StandardScaler(), PCA(components, random_state=0), regression)
    with warnings.catch_warnings():
        # At the embedding, all states can belong to the same token. The fit then cannot converge, which is expected.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return classifier.fit(train, train_labels).predict(test) == test_labels
