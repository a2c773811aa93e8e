"""The quality of a grasp proposal: the probability, learned from simulated outcomes, that the object is lifted and held.

A perceptron on the features of :mod:`srcli.actions.features`, stored as JSON beside this file. ``benchmarks/grasp_candidates.py``
collects outcomes and fits it anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from srcli.actions.features import FEATURES
from srcli.errors import ArtifactError
from srcli.types import F32, F64, Bool

DECIMALS = 4
"""Of a quality; finer differences mean nothing (:func:`rounded`)."""


def rounded(quality: F32 | F64) -> F32:
    """Qualities (P,) in steps of 1e-4, float32: what every source of candidates gives, before it is compared or cut.

    Sums of many products end otherwise on processors whose BLAS takes other kernels. The models add up in double precision, where
    the difference is below 1e-12; rounded, it is gone but for a value that lies as near as that to the middle between two steps.
    Equal qualities keep the order in which the candidates were found.
    """
    steps: F32 = np.round(quality.astype(np.float64), DECIMALS).astype(np.float32)
    return steps


def between_steps(quality: F64, margin: float) -> Bool:
    """(P,) which qualities lie so near to the middle between two steps that an error of ``margin`` could round them otherwise."""
    step = 10.0**-DECIMALS
    near: Bool = np.abs(np.mod(quality / step, 1.0) - 0.5) <= margin / step
    return near


@dataclass(frozen=True, slots=True)
class QualityModel:
    """sigmoid(w2 . tanh(W1 x + b1) + v . x + b2) of standardised features x.

    Attributes:
        mean, scale: (F,) standardisation.
        hidden_weight: (H, F); hidden_bias: (H,); output_weight: (H,); linear: (F,); bias: scalar.
    """

    mean: F64
    scale: F64
    hidden_weight: F64
    hidden_bias: F64
    output_weight: F64
    linear: F64
    bias: float

    def score(self, features: F32) -> F32:
        """Hold probability (P,) float32 of features (P, F)."""
        x = np.clip((features.astype(np.float64) - self.mean) / self.scale, -4.0, 4.0)
        hidden = np.tanh(x @ self.hidden_weight.T + self.hidden_bias)
        logit = hidden @ self.output_weight + x @ self.linear + self.bias
        probability: F32 = (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
        return probability

    def to_json(self) -> str:
        """All numbers with the names of the features they belong to."""
        values = {name: np.round(getattr(self, name), 6).tolist() for name in self.__slots__}
        return json.dumps({"features": list(FEATURES), **values}, indent=None) + "\n"

    @classmethod
    def from_json(cls, text: str) -> QualityModel:
        """The inverse of :meth:`to_json`.

        Raises:
            ArtifactError: the text was made for other features.
        """
        data = json.loads(text)
        if tuple(data.pop("features")) != FEATURES:
            raise ArtifactError(
                "the grasp quality model was made for other features", "fit it anew: benchmarks/grasp_candidates.py"
            )
        bias = float(data.pop("bias"))
        arrays = {name: np.array(value, dtype=np.float64) for name, value in data.items()}
        # Without hidden units the list is empty and has lost its second axis.
        arrays["hidden_weight"] = arrays["hidden_weight"].reshape(-1, len(FEATURES))
        return cls(**arrays, bias=bias)


@lru_cache(maxsize=1)
def quality_model() -> QualityModel:
    """The model that comes with the package."""
    return QualityModel.from_json(resources.files("srcli.actions").joinpath("quality.json").read_text(encoding="utf-8"))


def fit(features: F32, held: Bool, hidden: int = 8, decay: float = 0.02, rng: np.random.Generator | None = None) -> QualityModel:
    """Fit to outcomes by penalised maximum likelihood (L-BFGS), so that the score is a calibrated probability.

    Args:
        features: (P, F) of executed grasps.
        held: (P,) whether the object was held at the end.
        hidden: number of hidden units; 0 leaves a logistic regression.
        decay: weight of the squared parameters against the mean log-likelihood.
        rng: initial hidden weights; a fixed one by default.
    """
    from scipy.optimize import minimize

    rng = rng or np.random.Generator(np.random.PCG64(0))
    mean, scale = features.mean(axis=0).astype(np.float64), features.std(axis=0).astype(np.float64) + 1e-3
    x = np.clip((features - mean) / scale, -4.0, 4.0)
    y = held.astype(np.float64)
    width = x.shape[1]
    sizes = np.cumsum([hidden * width, hidden, hidden, width])

    def unpack(theta: F64) -> tuple[F64, F64, F64, F64, float]:
        first, bias, second, linear, last = np.split(theta, sizes)
        return first.reshape(hidden, width), bias, second, linear, float(last[0])

    def loss(theta: F64) -> tuple[float, F64]:
        first, bias, second, linear, last = unpack(theta)
        h = np.tanh(x @ first.T + bias)
        logit = h @ second + x @ linear + last
        value = float(np.mean(np.logaddexp(0.0, logit) - y * logit)) + decay * float(theta[:-1] @ theta[:-1]) / 2
        error = (1.0 / (1.0 + np.exp(-logit)) - y) / len(y)
        back = np.outer(error, second) * (1 - h**2)
        gradient = np.concatenate([(back.T @ x).ravel(), back.sum(axis=0), h.T @ error, x.T @ error, [error.sum()]])
        gradient[:-1] += decay * theta[:-1]
        return value, gradient

    start = np.concatenate(
        [rng.normal(0, 0.3, hidden * width), np.zeros(hidden), rng.normal(0, 0.3, hidden), np.zeros(width + 1)]
    )
    theta = np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x)
    first, bias, second, linear, last = unpack(theta)
    return QualityModel(mean, scale, first, bias, second, linear, last)
