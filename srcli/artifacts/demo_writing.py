"""Demonstrations written: an episode as a part of its own, and all parts as one file.

See :mod:`srcli.artifacts.demos` for what they are and how they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import (
    CONFIG,
    DEMOS,
    SCHEMA,
    SCHEMA_VERSION,
    SRCLI_VERSION,
    check_output,
    create_artifact,
    open_artifact,
    put,
)
from srcli.artifacts.demo_checks import FAILED, TRAIN, VALID
from srcli.artifacts.demo_views import AFTER, DEPTH, OBS, write_camera_views, write_images
from srcli.artifacts.digests import to_json
from srcli.errors import ArtifactError
from srcli.types import Action

if TYPE_CHECKING:
    from srcli.artifacts.demos import DemoEpisode, DemoStep

DATA, MASK = "data", "mask"
CAMERAS = "cameras"
POSE_WIDTH = 8


def demo_name(index: int) -> str:
    """The group of an episode."""
    return f"demo_{index:06d}"


def write_part(path: Path, episode: DemoEpisode, index: int, config: Mapping[str, Any]) -> None:
    """Write one episode as a file of its own.

    Raises:
        DiskError: the disk is full or the place not writable.
    """
    with create_artifact(path, DEMOS, config) as handle:
        _write_episode(handle.create_group(DATA).create_group(demo_name(index)), episode)


def merge_parts(
    output: Path, parts: Iterable[Path], config: Mapping[str, Any], valid_every: int, cameras: Sequence[str] = ()
) -> None:
    """Put part files, in the order of their index, into one file.

    Args:
        config: the recorded configuration of the whole.
        valid_every: each episode whose index leaves the remainder ``valid_every - 1`` is kept for validation; where that leaves
            none, the last one with a demonstration.
        cameras: names of the cameras, in the order of the views.

    Raises:
        ArtifactError: a part is missing or damaged.
        DiskError: the disk is full or the place not writable.
    """
    masks: dict[str, list[bytes]] = {TRAIN: [], VALID: [], FAILED: []}
    total = 0
    with create_artifact(output, DEMOS, config) as handle:
        data = handle.create_group(DATA)
        for index, part in enumerate(parts):
            name = demo_name(index)
            with open_artifact(part, DEMOS, quiet=True) as source:
                source.copy(source[DATA][name], data, name)
            write_camera_views(data[name], cameras)
            check_output(data)
            attrs = data[name].attrs
            total += int(attrs["num_samples"])
            if int(attrs["demonstration"]) < 0:
                masks[FAILED].append(name.encode())
            else:
                masks[VALID if index % valid_every == valid_every - 1 else TRAIN].append(name.encode())
        if masks[TRAIN] and not masks[VALID]:
            # Readers stop at an empty filter key. A single demonstration serves both.
            masks[VALID].append(masks[TRAIN].pop() if len(masks[TRAIN]) > 1 else masks[TRAIN][0])
        data.attrs["total"] = total
        if cameras:
            data.attrs[CAMERAS] = to_json(list(cameras))
        # robomimic's documentation says env_type, its code reads type.
        data.attrs["env_args"] = to_json({"env_name": "srcli", "env_type": "srcli", "type": "srcli", "env_kwargs": dict(config)})
        for key in (SCHEMA, SCHEMA_VERSION, SRCLI_VERSION, CONFIG):
            data.attrs[key] = handle.attrs[key]
        mask = handle.create_group(MASK)
        for key, names in masks.items():
            mask.create_dataset(key, data=np.array(names, dtype="S11"), track_times=False)


def _write_episode(group: h5py.Group, episode: DemoEpisode) -> None:
    spec, steps = episode.spec, episode.steps
    attrs = group.attrs
    attrs["num_samples"] = len(steps)
    attrs["seed"] = np.asarray(spec.seed, dtype=np.int64)
    attrs["split"], attrs["task"], attrs["wording"], attrs["case"] = spec.split, spec.task, spec.wording, spec.case
    attrs["instruction"] = spec.instruction
    goal = spec.goal
    attrs["goal"] = to_json(
        {
            "keyword": goal.keyword,
            "keyword_kind": goal.keyword_kind,
            "targets": list(goal.targets),
            "relation": goal.relation,
            "references": list(goal.references),
            "reference": goal.reference,
            **({"modifier": goal.modifier} if goal.modifier else {}),
        }
    )
    attrs["objects"] = to_json(list(spec.objects))
    if spec.looks:
        attrs["looks"] = to_json([[look.scale, look.color] for look in spec.looks])
    attrs["held"] = spec.held
    attrs["success"] = bool(episode.success)
    attrs["demonstration"] = episode.demonstration
    attrs["ep_meta"] = to_json({"lang": spec.instruction})
    put(group, "drops", np.asarray(spec.drops, dtype=np.float64))
    put(group, "shifts", np.asarray(spec.shifts or (0.0,) * len(spec.objects), dtype=np.float64))
    count = len(steps)
    put(group, "actions", np.stack([_action_row(s.action) for s in steps]) if steps else np.zeros((0, POSE_WIDTH), np.float32))
    put(group, "rewards", np.array([float(s.outcome.success) for s in steps], dtype=np.float32))
    put(group, "dones", np.array([i == count - 1 for i in range(count)], dtype=np.uint8))
    put(group, "states", np.stack([s.poses.reshape(-1) for s in steps]) if steps else np.zeros((0, 7 * len(spec.objects))))
    if steps:
        _write_views(group, steps)
        if episode.after is not None:
            after = group.create_group(AFTER)
            write_images(after, episode.after.rgb[None], episode.after.depth[None], group[OBS][DEPTH].dtype)
        _write_candidates(group.create_group("candidates"), steps)
        _write_outcomes(group.create_group("outcome"), steps)


def _action_row(action: Action | None) -> npt.NDArray[np.float32]:
    if action is None:
        return np.zeros(POSE_WIDTH, dtype=np.float32)
    return np.append(action.pose, action.width).astype(np.float32)


def _write_views(group: h5py.Group, steps: tuple[DemoStep, ...]) -> None:
    first = steps[0].observation
    for step in steps[1:]:
        seen = step.observation
        if not (np.array_equal(seen.K, first.K) and np.array_equal(seen.T_world_cam, first.T_world_cam)):
            raise ArtifactError("the cameras moved within an episode", "the format holds one calibration per episode")
    camera = group.create_group("camera")
    put(camera, "K", first.K)
    put(camera, "T_world_cam", first.T_world_cam)
    rgb, depth = np.stack([s.observation.rgb for s in steps]), np.stack([s.observation.depth for s in steps])
    write_images(group.create_group(OBS), rgb, depth)
    put(group.create_group("analysis"), "segmentation", np.stack([s.segmentation for s in steps]), (1, 1, *depth.shape[2:]))


def _write_candidates(group: h5py.Group, steps: tuple[DemoStep, ...]) -> None:
    count, most = len(steps), max(len(s.candidates) for s in steps)
    poses = np.zeros((count, most, 7), np.float32)
    widths, quality = np.zeros((count, most), np.float32), np.zeros((count, most), np.float32)
    slots = np.full((count, most), -1, np.int32)
    excluded, valid = np.zeros((count, most), np.bool_), np.zeros((count, most), np.bool_)
    held = np.full((count, 3), np.nan)
    for row, step in enumerate(steps):
        k = len(step.candidates)
        poses[row, :k], widths[row, :k] = step.candidates.poses, step.candidates.widths
        quality[row, :k], slots[row, :k], excluded[row, :k] = step.candidates.quality, step.slots, step.excluded
        valid[row, :k] = step.valid
        if step.held is not None:
            held[row] = step.held.radius, step.held.half_width, step.held.height
    put(group, "count", np.array([len(s.candidates) for s in steps], np.int32))
    put(group, "kind", np.array([s.candidates.kind.encode() for s in steps], dtype="S5"))
    chosen = [-1 if s.action is None or s.action.index is None else s.action.index for s in steps]
    put(group, "chosen", np.array(chosen, np.int32))
    arrays = {"poses": poses, "widths": widths, "quality": quality, "slot": slots, "excluded": excluded, "valid": valid}
    for key, value in arrays.items():
        put(group, key, value)
    put(group, "held", held)


def _write_outcomes(group: h5py.Group, steps: tuple[DemoStep, ...]) -> None:
    put(group, "acted", np.array([s.action is not None for s in steps], np.bool_))
    put(group, "phase", np.array([s.phase.encode() for s in steps], dtype="S5"))
    put(group, "success", np.array([s.outcome.success for s in steps], np.bool_))
    put(group, "reason", np.array([s.outcome.reason.value.encode() for s in steps], dtype="S16"))
    put(group, "slot", np.array([-1 if s.outcome.slot is None else s.outcome.slot for s in steps], np.int32))
    put(group, "steps", np.array([s.steps for s in steps], np.int32))
    group.attrs["detail"] = to_json([s.outcome.detail for s in steps])
