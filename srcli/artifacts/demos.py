"""Demonstrations: every attempt of every episode. A superset of what readers of robomimic files expect.

One episode is one ``/data/demo_000000``, one attempt is one step. Splits are filter keys under ``/mask``. Segmentation, true
poses and the object of each candidate are there for supervision and analysis only. Each camera's images have a key of their own
beside those of all cameras: a virtual dataset, which costs no bytes of images. The layout stands in docs/artifacts.md;
they are written by :mod:`srcli.artifacts.demo_writing`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import h5py
import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import DEMOS, open_artifact, read_config, reopen_artifact
from srcli.artifacts.demo_checks import TRAIN, VALID, episode_problems, file_problems, step_problems, table_problems
from srcli.artifacts.demo_views import OBS, U16, read_after, read_images
from srcli.artifacts.demo_writing import CAMERAS, DATA, MASK
from srcli.artifacts.demo_writing import merge_parts as merge_parts
from srcli.artifacts.demo_writing import write_part as write_part
from srcli.artifacts.seal import identity
from srcli.errors import ArtifactError
from srcli.types import (
    F64,
    I32,
    Action,
    Bool,
    Candidates,
    EpisodeSpec,
    Goal,
    HeldExtent,
    Kind,
    Look,
    Observation,
    Outcome,
    Phase,
    Reason,
)


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One attempt: what was seen, what could be done, what was done and how it ended.

    Attributes:
        slots: (K,) int32, the object (scene slot) on which each grasp lies, -1 for none. Supervision and analysis only.
        valid: (K,) True for candidates that are right: on a target, or in the region that is asked for. Supervision only.
        excluded: (K,) True for candidates that had failed before in this episode.
        action: what was executed; None when there was nothing to do.
        steps: simulated steps (1/240 s) that it took.
        poses: (S, 7) float64 centre-of-mass pose of each slot before the attempt, NaN when removed. Analysis only.
        segmentation: (M, H, W) uint16, slot + 1, 0 background, 65535 robot. Analysis only.
        held: measured size of what was to be placed; None for grasps.
    """

    phase: Phase
    observation: Observation
    candidates: Candidates
    slots: I32
    valid: Bool
    excluded: Bool
    action: Action | None
    outcome: Outcome
    steps: int
    poses: F64
    segmentation: U16
    held: HeldExtent | None = None


@dataclass(frozen=True, slots=True)
class DemoEpisode:
    """One episode.

    Attributes:
        steps: the attempts in their order; empty when nothing could be attempted.
        success: whether the episode reached its goal.
        demonstration: the step whose decision completed the goal, or -1. In an episode that reached its goal every step that
            succeeded is a demonstration: the last, and before a placement the pick that it needed.
        after: what the cameras see after the last attempt; None where nobody asked for it.
    """

    spec: EpisodeSpec
    steps: tuple[DemoStep, ...]
    success: bool
    demonstration: int
    after: Observation | None = None


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The decision that a learner may learn from.

    Attributes:
        index: the episode.
        number: the step within it.
        label: the candidate that was taken.
    """

    index: int
    number: int
    spec: EpisodeSpec
    step: DemoStep
    label: int


class DemoDataset:
    """A demonstrations file, read episode by episode. What is read is checked; what the whole file has to keep, at once.

    Args:
        check: raise what breaks the contract; without, :meth:`problems` lists it.

    Attributes:
        path: the file.
        config: the recorded configuration.
        attempts: number of attempts of all episodes.
        cameras: names of the views, in their order; empty in files of earlier versions.

    Raises:
        ArtifactError: the file is missing, damaged, foreign, of another version, incomplete, or it contradicts itself.
    """

    def __init__(self, path: Path | str, check: bool = True) -> None:
        self.path, self._check = Path(path), check
        with open_artifact(self.path, DEMOS) as handle:
            self.config = read_config(handle)
            self._names = sorted(handle[DATA])
            self._masks = {key: [n.decode() for n in handle[MASK][key][()]] for key in handle[MASK]}
            self._demonstrations = [_demonstrations(handle[DATA][n]) for n in self._names]
            self.attempts = int(handle[DATA].attrs["total"])
            self._lengths = tuple(int(handle[DATA][name].attrs["num_samples"]) for name in self._names)
            self.cameras: tuple[str, ...] = tuple(json.loads(handle[DATA].attrs.get(CAMERAS, "[]")))
            self._most = max((_most_candidates(handle[DATA][n]) for n in self._names), default=0)
            self._state = identity(self.path)
        if check:
            self._raise(self._file_problems())

    def _file_problems(self) -> list[str]:
        return file_problems(self._names, self._masks, [bool(d) for d in self._demonstrations], self._lengths, self.attempts)

    def _raise(self, problems: list[str]) -> None:
        if problems and self._check:
            raise ArtifactError(f"{self.path}: breaks its contract: {problems[0]}", "make it anew with `srcli collect`")

    def check(self) -> None:
        """See that the tables of every episode keep the contract. Views are checked when they are read.

        Raises:
            ArtifactError: they do not.
        """
        with open_artifact(self.path, DEMOS) as handle:
            for index, name in enumerate(self._names):
                self._raise([f"episode {index}: {text}" for text in table_problems(handle[DATA][name])])

    def problems(self) -> list[str]:
        """All that contradicts the contract, one line each; reads the whole file."""
        found = self._file_problems()
        for index in range(len(self)):
            try:
                with self._group(index) as group:
                    own = table_problems(group)
                if not own:
                    own = episode_problems(self.episode(index))
            except ArtifactError as error:
                own = [error.message]
            found += [f"episode {index}: {text}" for text in own]
        return found

    def __len__(self) -> int:
        return len(self._names)

    @property
    def most_candidates(self) -> int:
        """The largest number of candidates of any step."""
        return self._most

    def split(self, name: str) -> npt.NDArray[np.int64]:
        """Indices of the episodes of a filter key: ``train`` and ``valid`` (with a demonstration) or ``failed`` (without).

        Raises:
            ArtifactError: the file has no such key.
        """
        if name not in self._masks:
            raise ArtifactError(f"{self.path}: has no split '{name}'", f"it has: {', '.join(sorted(self._masks))}")
        return np.array([int(n.rsplit("_", 1)[1]) for n in self._masks[name]], dtype=np.int64)

    def held_back(self) -> frozenset[int]:
        """Indices of the episodes that nothing is trained on; never all of those with a demonstration."""
        return frozenset(self.split(VALID).tolist()) - frozenset(self.split(TRAIN).tolist())

    @property
    def demonstrations(self) -> npt.NDArray[np.int64]:
        """Indices of the episodes with a demonstration, ascending."""
        return np.array([i for i, steps in enumerate(self._demonstrations) if steps], dtype=np.int64)

    @property
    def decisions(self) -> tuple[tuple[int, int], ...]:
        """(episode, step) of every demonstration, ascending; an episode of two phases has two."""
        return tuple((index, step) for index, steps in enumerate(self._demonstrations) for step in steps)

    @contextmanager
    def _group(self, index: int) -> Iterator[h5py.Group]:
        with reopen_artifact(self.path, DEMOS, self._state) as handle:
            yield handle[DATA][self._names[index]]

    def episode(self, index: int) -> DemoEpisode:
        """One whole episode."""
        with self._group(index) as group:
            count, spec = int(group.attrs["num_samples"]), _read_spec(group)
            episode = DemoEpisode(
                spec=spec,
                steps=tuple(_read_step(group, row, spec.goal) for row in range(count)),
                success=bool(group.attrs["success"]),
                demonstration=int(group.attrs["demonstration"]),
                after=read_after(group),
            )
        self._raise([f"episode {index}: {text}" for text in episode_problems(episode)])
        return episode

    def spec(self, index: int) -> EpisodeSpec:
        """What an episode was made from, without reading its views."""
        with self._group(index) as group:
            return _read_spec(group)

    def step(self, index: int, number: int) -> tuple[EpisodeSpec, DemoStep]:
        """One attempt of an episode, a demonstration or not, and what the episode was made from."""
        with self._group(index) as group:
            spec = _read_spec(group)
            step = _read_step(group, number, spec.goal)
        self._raise([f"episode {index}: {text}" for text in step_problems(step, number)])
        return spec, step

    def lengths(self) -> tuple[int, ...]:
        """Attempts of each episode."""
        return self._lengths

    def demonstration(self, index: int, step: int | None = None) -> Demonstration:
        """A demonstration of one episode.

        Args:
            step: one of ``decisions``; None: the one that completed the goal.

        Raises:
            ArtifactError: there is no such demonstration, or its label is not one of its candidates.
        """
        known = self._demonstrations[index]
        if not known or step not in (None, *known):
            which = f"episode {index}" if step is None else f"step {step} of episode {index}"
            raise ArtifactError(f"{self.path}: {which} has no demonstration", "use one of `decisions`")
        number = known[-1] if step is None else step
        with self._group(index) as group:
            spec = _read_spec(group)
            found = _read_step(group, number, spec.goal)
        self._raise([f"episode {index}: {text}" for text in step_problems(found, number)])
        label = -1 if found.action is None or found.action.index is None else found.action.index
        if not 0 <= label < len(found.candidates):
            raise ArtifactError(f"{self.path}: the demonstration of episode {index} names no candidate", "make the file anew")
        return Demonstration(index, number, spec, found, label)


def _demonstrations(group: h5py.Group) -> tuple[int, ...]:
    """The steps of an episode that are demonstrations, ascending; the last one completed the goal."""
    last = int(group.attrs["demonstration"])
    if last < 0 or "outcome" not in group:
        return () if last < 0 else (last,)
    return (*(int(row) for row in np.flatnonzero(group["outcome/success"][()]) if row < last), last)


def _most_candidates(group: h5py.Group) -> int:
    return int(group["candidates/poses"].shape[1]) if "candidates" in group else 0


def _read_spec(group: h5py.Group) -> EpisodeSpec:
    attrs = group.attrs
    goal = json.loads(attrs["goal"])
    return EpisodeSpec(
        task=str(attrs["task"]),
        split=str(attrs["split"]),
        seed=tuple(int(s) for s in attrs["seed"]),
        instruction=str(attrs["instruction"]),
        goal=Goal(
            keyword=goal["keyword"],
            keyword_kind=goal["keyword_kind"],
            targets=tuple(goal["targets"]),
            relation=goal["relation"],
            references=tuple(goal["references"]),
            reference=goal.get("reference", ""),
            modifier=goal.get("modifier", ""),
        ),
        objects=tuple(json.loads(attrs["objects"])),
        drops=group["drops"][()],
        wording=str(attrs["wording"]),
        case=str(attrs["case"]),
        shifts=_read_shifts(group),
        held=int(attrs.get("held", -1)),
        looks=tuple(Look(float(scale), str(color)) for scale, color in json.loads(attrs.get("looks", "[]"))),
    )


def _read_shifts(group: h5py.Group) -> tuple[float, ...]:
    """Empty when all are 0, as a specification without zones has them; files of an earlier version have none."""
    shifts = group["shifts"][()].tolist() if "shifts" in group else []
    return tuple(shifts) if any(shifts) else ()


def _read_step(group: h5py.Group, row: int, goal: Goal) -> DemoStep:
    cands, outcome = group["candidates"], group["outcome"]
    count, chosen = int(cands["count"][row]), int(cands["chosen"][row])
    kind = cast(Kind, cands["kind"][row].decode())
    action = None
    if outcome["acted"][row]:
        values = group["actions"][row]
        action = Action(kind, values[:7], float(values[7]), None if chosen < 0 else chosen)
    slot = int(outcome["slot"][row])
    slots = cands["slot"][row, :count]
    # Files of an earlier version hold grasps only, whose validity follows from the goal.
    valid = cands["valid"][row, :count] if "valid" in cands else np.isin(slots, np.asarray(goal.targets, dtype=np.int32))
    extent = cands["held"][row] if "held" in cands else np.full(3, np.nan)
    return DemoStep(
        phase=cast(Phase, outcome["phase"][row].decode()),
        observation=read_images(group, OBS, row),
        candidates=Candidates(cands["poses"][row, :count], cands["widths"][row, :count], cands["quality"][row, :count], kind),
        slots=slots,
        valid=valid,
        excluded=cands["excluded"][row, :count],
        action=action,
        outcome=Outcome(
            success=bool(outcome["success"][row]),
            reason=Reason(outcome["reason"][row].decode()),
            slot=None if slot < 0 else slot,
            detail=json.loads(outcome.attrs["detail"])[row],
        ),
        steps=int(outcome["steps"][row]),
        poses=group["states"][row].reshape(-1, 7),
        segmentation=group["analysis/segmentation"][row],
        held=HeldExtent(*(float(v) for v in extent)) if np.isfinite(extent).all() else None,
    )
