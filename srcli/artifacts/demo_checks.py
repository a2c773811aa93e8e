"""What contradicts the contract of demonstrations: of the file as a whole, of an episode's tables, of its views."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import h5py
import numpy as np

from srcli.artifacts.core import array
from srcli.types import Reason

if TYPE_CHECKING:
    from srcli.artifacts.demos import DemoEpisode, DemoStep

TRAIN, VALID, FAILED = "train", "valid", "failed"
_GROUP = re.compile(r"demo_\d{6,}")
_REASONS = {reason.value for reason in Reason}
# Arrays of an episode with attempts beside its views: kinds of numbers and axes.
_TABLES = {
    "actions": ("f", 2),
    "rewards": ("f", 1),
    "dones": ("iub", 1),
    "states": ("f", 2),
    "candidates/count": ("iu", 1),
    "candidates/poses": ("f", 3),
    "candidates/widths": ("f", 2),
    "candidates/quality": ("f", 2),
    "candidates/slot": ("i", 2),
    "candidates/excluded": ("b", 2),
    "candidates/kind": ("S", 1),
    "candidates/chosen": ("i", 1),
    "outcome/acted": ("b", 1),
    "outcome/phase": ("S", 1),
    "outcome/success": ("b", 1),
    "outcome/reason": ("S", 1),
    "outcome/slot": ("i", 1),
    "outcome/steps": ("iu", 1),
}
_VIEWS = {"obs/rgb": ("u", 5), "obs/depth": ("fu", 4), "analysis/segmentation": ("u", 4)}


def file_problems(
    names: Sequence[str], masks: Mapping[str, Sequence[str]], succeeded: Sequence[bool], steps: Sequence[int], total: int
) -> list[str]:
    """Of a whole file.

    Args:
        names: groups of the episodes, sorted.
        masks: names by filter key.
        succeeded, steps: of each episode, whether it has a demonstration, and its attempts.
        total: attempts that the file claims.
    """
    found = []
    if any(not _GROUP.fullmatch(name) for name in names) or [int(n[5:]) for n in names] != list(range(len(names))):
        return ["its episodes are not numbered from 0 without a gap"]
    listed = [name for key in (TRAIN, VALID, FAILED) for name in masks.get(key, ())]
    if len(masks.get(TRAIN, ())) == 1 and list(masks[TRAIN]) == list(masks.get(VALID, ())):
        # A single demonstration serves both.
        listed = [*masks[TRAIN], *masks.get(FAILED, ())]
    if sorted(listed) != list(names) or not {TRAIN, VALID, FAILED} <= set(masks):
        found.append("the splits do not cover the episodes exactly")
    else:
        failed = set(masks[FAILED])
        if any((name in failed) == won for name, won in zip(names, succeeded, strict=True)):
            found.append("the splits contradict the episodes' success")
    if sum(steps) != total:
        found.append(f"'total' says {total} attempts, there are {sum(steps)}")
    return found


def table_problems(group: h5py.Group) -> list[str]:
    """Of the tables of one episode; its views are not read.

    Raises:
        What h5py and numpy raise where something is missing or of another kind.
    """
    count, objects = int(group.attrs["num_samples"]), len(array(group, "drops", "f", 2))
    success, last = bool(group.attrs["success"]), int(group.attrs["demonstration"])
    found = []
    if (last >= 0) != success:
        found.append("success and demonstration contradict each other")
    if not count:
        return [*found, *(["the demonstration is not one of its attempts"] if last >= 0 else [])]
    tables = {name: array(group, name, *kind) for name, kind in _TABLES.items()}
    if any(len(table) != count for table in tables.values()):
        return [*found, f"a table has not its {count} attempts"]
    for name, (kinds, ndim) in _VIEWS.items():
        if group[name].dtype.kind not in kinds or group[name].ndim != ndim or len(group[name]) != count:
            found.append(f"'{name}' has shape {group[name].shape}")
    if last >= count:
        found.append("the demonstration is not one of its attempts")
    elif last >= 0 and not tables["outcome/success"][last]:
        found.append("the demonstration is an attempt that failed")
    if tables["actions"].shape[1] != 8 or tables["states"].shape[1] != 7 * objects:
        found.append("an action or a state has the wrong length")
    poses, counts = tables["candidates/poses"], tables["candidates/count"]
    most = poses.shape[1]
    if poses.shape[2] != 7 or any(
        tables[f"candidates/{key}"].shape[1] != most for key in ("widths", "quality", "slot", "excluded")
    ):
        found.append("the tables of its candidates differ")
        return found
    for number in range(count):
        own, chosen = int(counts[number]), int(tables["candidates/chosen"][number])
        if own > most or own < 0:
            found.append(f"attempt {number}: says that it has {own} candidates of {most}")
        elif not np.isfinite(poses[number, :own]).all():
            found.append(f"attempt {number}: a candidate holds a value that is not finite")
        if chosen >= own or chosen < -1:
            found.append(f"attempt {number}: names no candidate")
        elif chosen >= 0 and tables["candidates/excluded"][number, chosen]:
            found.append(f"attempt {number}: took an excluded candidate")
        if not -1 <= tables["outcome/slot"][number] < objects or (tables["candidates/slot"][number] >= objects).any():
            found.append(f"attempt {number}: names an object that is not there")
        if tables["outcome/reason"][number].decode() not in _REASONS:
            found.append(f"attempt {number}: ended for a reason that is not known")
    return found


def step_problems(step: DemoStep, number: int) -> list[str]:
    """Of one attempt that has been read with its views."""
    seen = step.observation
    if not (np.isfinite(seen.depth).all() and np.isfinite(seen.K).all() and np.isfinite(seen.T_world_cam).all()):
        return [f"attempt {number}: depth holds a value that is not finite"]
    return []


def episode_problems(episode: DemoEpisode) -> list[str]:
    """Of one episode that has been read."""
    return [text for number, step in enumerate(episode.steps) for text in step_problems(step, number)]
