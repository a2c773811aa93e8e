"""The training set of methods that choose a pose of their own: all that the views show, the sentence, and the expert's pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from srcli.actions.poses import canonical_poses
from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.errors import SceneError
from srcli.learning.augment import CENTRE, rotate_poses
from srcli.learning.schedule import walk
from srcli.seeding import generator
from srcli.types import F32, F64, I64, U8, Bool

if TYPE_CHECKING:
    from srcli.artifacts.features import FeatureDataset

MARGIN = 0.04
"""Keyposes may lie so far outside of what is looked at, metres."""
WORKSPACE = (np.array(WORKSPACE_LOWER) - MARGIN, np.array(WORKSPACE_UPPER) + MARGIN)
"""Lower and upper corner (3,) of keyposes of the fingertips, world frame, metres."""
NEAR = 0.02
"""A position so near to the expert's counts as right in a validation, metres."""
_MOVES = 5
"""Stream of the turns and shifts of an update."""


@dataclass(frozen=True, slots=True)
class KeyposeInput:
    """What a keypose method sees of one decision.

    Attributes:
        cells: (C, 3) float32 metres, world frame: where the dense features lie, those of the table included.
        features: (C, D) float32, unit length.
        points: (P, 3) float32 metres, world frame: the surface.
        colors: (P, 3) uint8.
        text: (D,) the sentence, unit length; for a placement its reference.
        tokens: (L, D) its tokens, unit length; for a placement those of the place half.
        token_mask: (L,) True where a token is real.
        place: whether something held is to be placed.
        held: (3,) radius, half width and height of what is held, metres; zeros for a pick.
    """

    cells: F32
    features: F32
    points: F32
    colors: U8
    text: F32
    tokens: F32
    token_mask: Bool
    place: bool
    held: F32


@dataclass(frozen=True, slots=True)
class KeyposeSample:
    """A decision with its label, for training alone.

    Attributes:
        pose: (7,) float32, the expert's: metres, quaternion xyzw, canonical.
    """

    given: KeyposeInput
    pose: F32


class KeyposeSet:
    """Decisions of a features file, with their splits.

    Args:
        features: made with ``featurize.views``.
        surface: False leaves the points of the surface away, for a method that does not look at them: most of what there is to
            hold, and to turn.

    Attributes:
        train, valid: indices of both splits.
        feature_dim: D.
        tokens: L.

    Raises:
        SceneError: no features, or no training sample.
        ArtifactError: the file was made without whole views, or is damaged.
    """

    def __init__(self, features: FeatureDataset | None, *, surface: bool = True) -> None:
        if features is None:
            raise SceneError("this method is trained on features", "make them with `srcli featurize -S featurize.views=true`")
        self._views = features.views()
        if not surface:
            self._views |= {name: self._views[name][:, :0] for name in ("surface_points", "surface_colors", "surface_mask")}
        names = ("text", "tokens", "token_mask", "candidates", "candidate_mask", "valid", "label", "phase")
        self._rows: dict[str, npt.NDArray[Any]] = {name: features.column(name) for name in names}
        self.train, self.valid = features.split("train"), features.split("valid")
        if len(self.train) == 0:
            raise SceneError("the features hold no training sample", "collect more demonstrations, then featurize again")
        self.feature_dim = int(self._views["cell_features"].shape[2])
        self.tokens = int(self._rows["tokens"].shape[1])
        place = self._rows["phase"][self.train] == 1
        self._pools: tuple[I64, ...] = tuple(pool for pool in (self.train[~place], self.train[place]) if len(pool))

    def __len__(self) -> int:
        return len(self._rows["label"])

    def sample(self, index: int) -> KeyposeSample:
        """One decision, without padding."""
        views, rows = self._views, self._rows
        cells, surface = views["cell_mask"][index], views["surface_mask"][index]
        pose = rows["candidates"][index, rows["label"][index]][None]
        given = KeyposeInput(
            cells=views["cell_points"][index][cells],
            features=views["cell_features"][index][cells].astype(np.float32),
            points=views["surface_points"][index][surface],
            colors=views["surface_colors"][index][surface],
            text=rows["text"][index],
            tokens=rows["tokens"][index],
            token_mask=rows["token_mask"][index],
            place=bool(rows["phase"][index] == 1),
            held=views["held"][index],
        )
        return KeyposeSample(given, canonical_poses(pose)[0])

    def right(self, index: int) -> F32:
        """(V, 7) candidates that are right: on a target, or in the region asked for. For measuring, never for a method."""
        rows = self._rows
        poses: F32 = rows["candidates"][index][rows["valid"][index] & rows["candidate_mask"][index]]
        return poses

    def draw(self, update: int, size: int, seed: int, *, turn: float = np.pi, shift: float = 0.03) -> list[KeyposeSample]:
        """The batch of an update: picks and placements by turns where both are there, each turned and shifted.

        Epochs of either are permutations of it, walked through across their borders.

        Args:
            turn: most that a sample is turned about the vertical, radians.
            shift: most that it is moved along x and y, metres.
        """
        rng = generator((seed,), _MOVES, update)
        drawn = []
        for number in range(update * size, (update + 1) * size):
            step, phase = divmod(number, len(self._pools))
            index = int(walk(self._pools[phase], step, 1, seed, phase)[0])
            drawn.append(turned(self.sample(index), float(rng.uniform(-turn, turn)), rng.uniform(-shift, shift, 2)))
        return drawn


def turned(sample: KeyposeSample, angle: float, shift: F64) -> KeyposeSample:
    """A sample turned by ``angle`` radians about the vertical through the workspace's middle and moved by ``shift`` (2,), metres.

    Placements keep the yaw that they are released with, which the arm does not choose.
    """
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    offset = np.append(shift, 0.0)

    def moved(points: F32) -> F32:
        at: F32 = ((points - CENTRE) @ turn.T + CENTRE + offset).astype(np.float32)
        return at

    pose = rotate_poses(sample.pose[None], angle)
    pose[:, :3] += offset.astype(np.float32)
    if sample.given.place:
        pose[:, 3:] = sample.pose[3:]
    given = replace(sample.given, cells=moved(sample.given.cells), points=moved(sample.given.points))
    return KeyposeSample(given, canonical_poses(pose)[0])
