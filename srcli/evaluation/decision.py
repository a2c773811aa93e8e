"""What a method decided from recorded or live views: poses in the world frame, scores, mask, and how they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill, shorten
from typing import Any, Literal

import numpy as np

from srcli.actions.graspnet import GraspGroup, from_candidates, write_grasps
from srcli.actions.gripper import GRIPPER
from srcli.errors import ConfigError, SceneError
from srcli.evaluation.understanding import Understood
from srcli.frames.observation import Observation
from srcli.language.spelling import Reading
from srcli.methods.base import Choice
from srcli.types import F32, F64, I64, OPENING_MARGIN, Action, Bool, Candidates, HeldExtent, Percept, Phase
from srcli.types import Observation as Views


def moved_poses(poses: F32 | F64, transform: F64) -> F64:
    """(K, 7) poses (xyz, quaternion xyzw) in another frame; as they are where that is the same one."""
    result = np.asarray(poses, dtype=np.float64)
    if np.array_equal(transform, np.eye(4)) or len(result) == 0:
        return result
    from scipy.spatial.transform import Rotation

    positions = result[:, :3] @ transform[:3, :3].T + transform[:3, 3]
    turned = np.asarray((Rotation.from_matrix(transform[:3, :3]) * Rotation.from_quat(result[:, 3:])).as_quat())
    # One of the two quaternions of a rotation: w is not negative, and where it is 0 the first of the others that is not.
    order = np.where(np.abs(turned[:, [3, 0, 1, 2]]) < 1e-6, 0.0, turned[:, [3, 0, 1, 2]])
    lead = order[np.arange(len(order)), np.argmax(order != 0, axis=1)]
    return np.concatenate([positions, turned * np.where(lead < 0, -1.0, 1.0)[:, None]], axis=1)


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision. Poses are (x, y, z, qx, qy, qz, qw): of a grasp the point between the fingertips and the tool (z = approach,
    x = closing direction), of a placement the point where the lowest point of what is held is released; metres.

    Attributes:
        sentence: as it was said.
        method: name of the method.
        observation: what was seen, world frame.
        views: the same in the frame of the cell that the decision was made in; ``candidates`` and ``choice`` are in it.
        choice: None where there was nothing to choose from.
        percept: semantic cloud, cell frame; None where the method did not look at it.
        reading, understood: what was read of the sentence.
        notes: what a person should know before acting.
        guess: nothing of the sentence says what was chosen, or nothing clear.
    """

    sentence: str
    method: str
    observation: Observation
    views: Views
    candidates: Candidates
    excluded: Bool
    choice: Choice | None
    percept: Percept | None
    reading: Reading
    understood: Understood
    notes: tuple[str, ...] = ()
    guess: bool = False

    @property
    def kind(self) -> Literal["grasp", "place"]:
        """What is to be done."""
        return self.candidates.kind

    @property
    def phase(self) -> Phase:
        """The half of the sentence that was decided about."""
        return "place" if self.kind == "place" else "pick"

    @property
    def held(self) -> HeldExtent | None:
        """Size of what is to be placed."""
        return self.observation.held

    @property
    def found(self) -> bool:
        """Whether there was anything to choose from."""
        return self.choice is not None

    @property
    def action(self) -> Action:
        """What was chosen, in the cell's frame.

        Raises:
            SceneError: there was nothing to choose from.
        """
        if self.choice is None:
            what = "place" if self.kind == "place" else "grasp"
            left = "all have failed before" if len(self.candidates) else "nothing on the table can be reached by the gripper"
            raise SceneError(
                f"no {what} to choose from: {left}", "look at the depth images; -S candidates.min_quality=0.2 lets in more"
            )
        return self.choice.action

    @property
    def index(self) -> int | None:
        """Which candidate was chosen; None for a pose of the method's own."""
        return self.action.index

    @property
    def pose(self) -> F64:
        """(7,) of what was chosen, world frame."""
        pose: F64 = moved_poses(self.action.pose[None], self._T_world_cell)[0]
        return pose

    @property
    def matrix(self) -> F64:
        """(4, 4) from the tool's frame to the world."""
        from scipy.spatial.transform import Rotation

        made = np.eye(4)
        made[:3, :3], made[:3, 3] = Rotation.from_quat(self.pose[3:]).as_matrix(), self.pose[:3]
        return made

    @property
    def width(self) -> float:
        """Opening between the pads when they touch, metres; 0 for a placement."""
        return float(self.action.width)

    @property
    def opening(self) -> float:
        """Opening to go down with: somewhat wider, up to the gripper's stroke, metres; 0 for a placement."""
        return 0.0 if self.kind == "place" else min(self.width + OPENING_MARGIN, GRIPPER.max_opening)

    @property
    def score(self) -> float | None:
        """Of what was chosen, in the method's own scale; None where it gives none."""
        index = self.index
        return None if self.scores is None or index is None else float(self.scores[index])

    @property
    def poses(self) -> F64:
        """(K, 7) of all candidates, world frame."""
        return moved_poses(self.candidates.poses, self._T_world_cell)

    @property
    def widths(self) -> F32:
        """(K,) of all candidates, metres."""
        return self.candidates.widths

    @property
    def quality(self) -> F32:
        """(K,) of all candidates by the action prior, 0..1."""
        return self.candidates.quality

    @property
    def scores(self) -> F32 | None:
        """(K,) of all candidates by the method; None where it gives none."""
        return None if self.choice is None else self.choice.scores

    @property
    def mask(self) -> F32 | None:
        """(N,) semantic weight of each of ``points``, 0..1; None where the method has no mask."""
        return None if self.choice is None else self.choice.mask

    @property
    def points(self) -> F64:
        """(N, 3) of the semantic cloud, world frame, metres; none where the method did not look at it."""
        if self.percept is None:
            return np.zeros((0, 3))
        points: F64 = self.percept.cloud.points.astype(np.float64)
        T = self._T_world_cell
        return points if np.array_equal(T, np.eye(4)) else points @ T[:3, :3].T + T[:3, 3]

    @property
    def similarity(self) -> F32:
        """(N,) cosine of each of ``points`` with the sentence."""
        return np.zeros(0, dtype=np.float32) if self.percept is None else self.percept.cloud.similarity

    @property
    def order(self) -> I64:
        """Candidates from the best to the worst: the chosen one first, those that have failed before left out."""
        values = self.quality if self.scores is None else self.scores
        order = np.argsort(-np.where(np.isfinite(values), values, -np.inf), kind="stable").astype(np.int64)
        order = order[~self.excluded[order]]
        chosen = None if self.choice is None else self.choice.action.index
        return order if chosen is None else np.concatenate([np.array([chosen], dtype=np.int64), order[order != chosen]])

    @property
    def _T_world_cell(self) -> F64:
        transform = self.observation.T_cell_world
        if transform is None or np.array_equal(transform, np.eye(4)):
            return np.eye(4)
        inverse: F64 = np.linalg.inv(transform).astype(np.float64)
        return inverse

    def in_camera(self, name: str = "") -> F64:
        """(7,) of what was chosen in the frame of a camera (OpenCV axes).

        Args:
            name: of the camera; empty: the first one.

        Raises:
            ConfigError: there is no such camera.
        """
        labels = self.observation.labels
        if name and name not in labels:
            raise ConfigError(f"no camera '{name}'", f"there are {', '.join(labels)}")
        pose = self.observation.T_world_cam[labels.index(name) if name else 0]
        found: F64 = moved_poses(self.pose[None], np.linalg.inv(pose))[0]
        return found

    def graspnet(self, count: int = 50, camera: str | None = "") -> GraspGroup:
        """The best grasps as rows of GraspNet's 17 numbers, best first. Scores are exp(score - best): 1 for the best.

        Args:
            camera: in whose frame; empty: the first one; None: the world frame.

        Raises:
            ConfigError: it is a placement, or there is no such camera.
        """
        if self.kind == "place":
            raise ConfigError("a placement has no GraspNet rows: they are grasps", "read its pose from the JSON")
        best = self.order[:count]
        values: F64 | F32 = (
            self.quality if self.scores is None else np.exp(self.scores - float(np.max(self.scores[best], initial=-np.inf)))
        )
        chosen = Candidates(
            self.poses[best].astype(np.float32), self.widths[best], np.clip(values[best], 0.0, 1.0).astype(np.float32)
        )
        labels = self.observation.labels
        if camera and camera not in labels:
            raise ConfigError(f"no camera '{camera}'", f"there are {', '.join(labels)}")
        if camera is None:
            return from_candidates(chosen)
        return from_candidates(chosen, self.observation.T_world_cam[labels.index(camera) if camera else 0])

    def as_dict(self, count: int = 5) -> dict[str, Any]:
        """All that was decided as plain data: the choice in the world's and in each camera's frame, and the best candidates.

        Args:
            count: how many candidates.
        """
        seen, table = self.observation, self.observation.table
        box = seen.workspace
        return {
            "sentence": self.sentence,
            "read_as": self.reading.text,
            "understood": self.understood.told(self.phase),
            "guess": self.guess,
            "method": self.method,
            "kind": self.kind,
            "found": self.found,
            "action": self._row(self.index, self.action) if self.choice is not None else None,
            "best": [self._row(int(k), None) for k in self.order[:count]],
            "candidates": len(self.candidates),
            "cameras": list(seen.labels),
            "table": None
            if table is None
            else {
                "height": table.height,
                "tilt": table.tilt,
                "seen": table.seen,
                "by_camera": {
                    name: {"height": height, "tilt": tilt}
                    for name, height, tilt in zip(seen.labels, table.cameras, table.tilts, strict=True)
                },
            },
            "workspace": None if box is None else {"lower": list(map(float, box.lower)), "upper": list(map(float, box.upper))},
            "notes": list(self.notes),
        }

    def _row(self, index: int | None, action: Action | None) -> dict[str, Any]:
        pose = self.pose if action is not None else self.poses[index]
        width = float(action.width if action is not None else self.widths[index])
        row: dict[str, Any] = {
            "pose": pose.tolist(),
            "width": width,
            "opening": 0.0 if self.kind == "place" else min(width + OPENING_MARGIN, GRIPPER.max_opening),
            "score": None if self.scores is None or index is None else float(self.scores[index]),
            "quality": None if index is None else float(self.quality[index]),
            "index": index,
        }
        if action is not None:
            row["in_camera"] = {name: self.in_camera(name).tolist() for name in self.observation.labels}
        return row

    def draw(self, path: Path | str) -> Path:
        """The views with the choice, and the cloud from above with similarity, mask and candidates, as a PNG file."""
        from srcli.evaluation.figures import draw_decision

        title = fill(f"“{self.sentence}”   {self.method}: {self.told()[0]}", 150)
        lines = [line for line in (self.reading.told(), self.understood.told(self.phase)) if line]
        T = self.observation.T_cell_world
        if T is not None and not np.array_equal(T, np.eye(4)):
            x, y, z = self._T_world_cell[:3, 3]
            lines.append(f"drawn in the cell's frame, whose origin lies at ({x:.3f}, {y:.3f}, {z:.3f}) of the world")
        title += "".join(f"\n{shorten(line, 180)}" for line in lines)
        return draw_decision(self, self.views, self.observation.labels, title, Path(path))

    def told(self) -> list[str]:
        """What is to be done, in a few lines for people."""
        if self.choice is None:
            return ["nothing to choose from"]
        x, y, z = self.pose[:3]
        where = f"at ({x:.3f}, {y:.3f}, {z:.3f})"
        score = "" if self.score is None else f", score {self.score:.3f}"
        if self.kind == "place":
            return [f"release the lowest point {where}{score}"]
        return [f"grasp {where}, width {1000 * self.width:.0f} mm, open to {1000 * self.opening:.0f} mm{score}"]

    def save(self, folder: Path | str, count: int = 50) -> Mapping[str, Path]:
        """``decision.json``, ``decision.png`` and, of a grasp, ``grasps.npy`` (GraspNet rows in the first camera's frame).

        Args:
            count: how many candidates are written.

        Returns:
            The files by kind: json, picture, graspnet.

        Raises:
            BusyError: another process writes there.
            DiskError: the folder cannot be written.
        """
        import json

        from srcli.artifacts.core import atomic_write, output_lock

        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        files = {"json": place / "decision.json"}
        with output_lock(files["json"]):
            files["picture"] = self.draw(place / "decision.png")
            with atomic_write(files["json"]) as temporary:
                temporary.write_text(json.dumps(_finite(self.as_dict(count)), indent=2) + "\n", encoding="utf-8")
            if self.kind == "grasp":
                files["graspnet"] = place / "grasps.npy"
                write_grasps(files["graspnet"], self.graspnet(count))
        return files


def _finite(value: Any) -> Any:
    """Plain data in which NaN and infinity, which JSON has not, are null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
