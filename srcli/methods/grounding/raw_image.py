"""Raw Image and Raw Image Grid without training: what the picture of the table, or a cell of it, has in common with the sentence.

Baselines of VLG (Xu et al., arXiv 2302.12610), of which no code exists: CLIP reads the whole image of the workspace, or each cell
of a grid over it, without knowing where things are, and a network chooses the grasp.

Ours learn nothing: the cell most like the sentence is taken, and a random candidate in it. A cell's feature is the mean of the
dense features of all points in it, the table's among them. With one cell, all that is known is whether the scene has what is
asked for: any candidate is as good as any other, which is what Raw Image can say before it has learned.
"""

from __future__ import annotations

import numpy as np

from srcli.config.cloud import CloudConfig
from srcli.methods.base import Choice, Decision
from srcli.methods.grounding.field import Looking, any_of, encoder_of, on_points, spread
from srcli.methods.grounding.section import RawImageConfig
from srcli.perception.cloud import unproject
from srcli.types import F32, I64


class RawImage:
    """See the module."""

    def __init__(self, section: RawImageConfig, encoder: Looking) -> None:
        self._cells, self._encoder = section.cells, encoder

    def act(self, decision: Decision) -> Choice:
        """A random candidate of the best cell. Its scores are the similarities of the candidates' cells."""
        config, cells = CloudConfig(), self._cells
        lower, upper = np.array(config.lower[:2], np.float32), np.array(config.upper[:2], np.float32)
        points = unproject(decision.observation, config, "place")
        features = on_points(points, self._encoder.dense(decision.observation.rgb), decision)
        percept = decision.percept()
        similarity = cell_similarity(features, cell_of(points, lower, upper, cells), cells, percept.text.pooled)
        own = cell_of(decision.candidates.poses[:, :3], lower, upper, cells)
        taken = any_of(decision, own == int(np.argmax(similarity)))
        shown = similarity[cell_of(percept.cloud.points, lower, upper, cells)]
        return Choice(decision.take(taken), scores=similarity[own], mask=spread(shown))


def cell_of(points: F32, lower: F32, upper: F32, cells: int) -> I64:
    """(N,) number of the cell, row by row, in which each point (N, 3) lies; what lies outside counts to the outermost cell.

    Args:
        lower, upper: (2,) corners of the workspace in x and y, metres.
    """
    index = np.floor((points[:, :2] - lower) / (upper - lower) * cells).astype(np.int64)
    index = np.clip(index, 0, cells - 1)
    number: I64 = index[:, 0] * cells + index[:, 1]
    return number


def cell_similarity(features: F32, cell: I64, cells: int, query: F32) -> F32:
    """(cells * cells,) cosine of the mean feature of each cell's points with the query; -1 where a cell has none."""
    total = np.zeros((cells * cells, features.shape[1]), dtype=np.float64)
    np.add.at(total, cell, features)
    norm = np.linalg.norm(total, axis=1)
    return np.where(norm > 1e-9, total @ query / np.maximum(norm, 1e-9), -1.0).astype(np.float32)


def build(section: RawImageConfig, weights: object, encoder: Looking | None, device: str, seed: int) -> RawImage:
    """The policy; it learns nothing.

    Raises:
        ConfigError: no encoder is given.
    """
    return RawImage(section, encoder_of(encoder))
