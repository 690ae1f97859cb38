"""The taste head: a Bayesian logistic preference model over image features, fitted to all ratings of one person."""

from .head import TasteConfig, TasteHead, fit_taste
from .observations import Observations, rating_observations
from .prior import FeatureScaling, TastePrior, isotropic_prior

__all__ = [
    "FeatureScaling",
    "Observations",
    "TasteConfig",
    "TasteHead",
    "TastePrior",
    "fit_taste",
    "isotropic_prior",
    "rating_observations",
]
