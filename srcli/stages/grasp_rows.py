"""Whether grasps of the user's own can be played at all, before anything is started."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srcli.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from srcli.actions.graspnet import GraspGroup
    from srcli.params import Params
    from srcli.types import Bool

_log = logging.getLogger(__name__)
_FILES = 20
"""Files of a folder that are looked at."""
_REACH = 0.3
"""Metres in front of the fingertips within which an approach has to meet the table: no object is higher."""
_DOUBTFUL = 0.8
"""Share of the grasps below which a warning is given."""


def check_rows(params: Params) -> None:
    """Refuse files of grasps of which none can be played; warn where few lie in the workspace, or approach what can stand there.

    A detector's grasps are not known before it sees a scene.

    Raises:
        ArtifactError: no grasp at all, or none that can be used.
        ConfigError: the frame is that of a view that there is not.
    """
    from srcli.actions.sources import FileSource, grasp_source

    named = params.candidates.source
    if not any(text and Path(text).exists() for text in (named, named.rpartition("@")[0])):
        return
    source = grasp_source(named, params.candidates)
    if not isinstance(source, FileSource):
        return
    from srcli.actions.graspnet import read_grasps
    from srcli.actions.sources import usable
    from srcli.sim.cameras import cameras

    files = sorted(source.path.rglob("*.npy"))[:_FILES] if source.path.is_dir() else [source.path]
    rows = inside = played = met = 0
    for file in files:
        group = read_grasps(file)
        if source.frame is not None:
            views = cameras(params.sim)
            if source.frame >= len(views):
                raise ConfigError(
                    f"grasps are given in the frame of view {source.frame}, but there are {len(views)} views", "@0 is the first"
                )
            group = group.moved(views[source.frame].T_world_cam)
        within, downwards = usable(group, params.candidates)
        rows, inside, played = rows + len(group), inside + int(within.sum()), played + int((within & downwards).sum())
        met += int((within & downwards & _meets(group, params)).sum())
    if not rows:
        raise ArtifactError(f"{source.path}: holds no grasp", "give a file with at least one row")
    if not played:
        raise ArtifactError(
            f"{source.path}: none of its {rows} grasps can be used: {inside} have their fingertips in the workspace",
            "rows are in metres, in the frame of the first camera; @world or @VIEW behind the path names another",
        )
    if min(inside, met) < _DOUBTFUL * rows:
        _log.warning(
            "%s: of its grasps %.0f%% have their fingertips in the workspace, and %.0f%% approach what can stand there: "
            "check unit (metres), frame and the order of the rotation's numbers (row by row)",
            source.path,
            100 * inside / rows,
            100 * met / rows,
        )


def _meets(group: GraspGroup, params: Params) -> Bool:
    """Whether the approach of each grasp (N,) meets the table within the workspace, not far in front of its fingertips."""
    tips, approach = group.tips, group.rotations[:, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        way = -tips[:, 2] / approach[:, 2]
        point = tips + way[:, None] * approach
    lower, upper = np.array(params.candidates.lower[:2]), np.array(params.candidates.upper[:2])
    found: Bool = (way >= 0) & (way <= _REACH) & np.all((point[:, :2] >= lower) & (point[:, :2] <= upper), axis=1)
    return found
