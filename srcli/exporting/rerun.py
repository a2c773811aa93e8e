"""An episode for the viewer of rerun.io, written without a display.

Timeline ``attempt``. Entities: ``world/cloud``, ``world/candidates`` (coloured by score), ``world/taken``,
``world/cameras/NAME`` with images and depth, ``sentence``, ``outcome``; with a method ``world/chosen``, ``world/attention`` (the
semantic cloud, coloured by the mask) and ``scores``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srcli.artifacts.core import atomic_write
from srcli.artifacts.demos import DemoEpisode
from srcli.config.cloud import CloudConfig
from srcli.evaluation.figures import gripper_lines
from srcli.exporting.decisions import Seen
from srcli.exporting.folders import library
from srcli.exporting.ply import coloured_cloud, shades
from srcli.exporting.rrd import numbered, settle
from srcli.types import F64, Action

TIMELINE = "attempt"
APPLICATION = "srcli"
_STRIDE = 2
_CHOSEN = (0, 255, 102)
_TAKEN = (255, 255, 255)

View = Callable[[DemoEpisode, int], Seen]


def export_rerun(episode: DemoEpisode, cameras: Sequence[str], config: CloudConfig, out: Path, view: View | None = None) -> int:
    """Write an episode as a ``.rrd`` file, the same bytes each time.

    Args:
        cameras: names of the views.
        view: what a method makes of an attempt, or None.

    Returns:
        The number of attempts.

    Raises:
        MissingAssetError: rerun is not installed, or of a version that writes files of another layout.
        DiskError: the disk is full or the place is not writable.
    """
    rr = library("rerun", "rerun", "a file for rerun's viewer")
    chunk = library("rerun.chunk", "rerun", "a file for rerun's viewer")
    spec = episode.spec
    chunks: list[Any] = []

    def log(entity: str, number: int | None, what: Any) -> None:
        times = [] if number is None else [rr.TimeColumn(TIMELINE, sequence=[number])]
        columns = [batch.partition([len(batch.as_arrow_array())]) for batch in what.as_component_batches()]
        chunks.append(numbered(chunk.Chunk.from_columns(entity, times, columns), len(chunks) + 1))

    log("world", None, rr.ViewCoordinates.RIGHT_HAND_Z_UP)
    log("sentence", None, rr.TextDocument(spec.instruction))
    for number, step in enumerate(episode.steps):
        observation, candidates = step.observation, step.candidates
        if number == 0:
            for name, K, pose in zip(cameras, observation.K, observation.T_world_cam, strict=True):
                where = f"world/cameras/{name}"
                log(where, None, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
                size = [observation.depth.shape[2], observation.depth.shape[1]]
                log(where, None, rr.Pinhole(image_from_camera=K, resolution=size, camera_xyz=rr.ViewCoordinates.RDF))
        for row, name in enumerate(cameras):
            log(f"world/cameras/{name}/rgb", number, rr.Image(observation.rgb[row]))
            log(f"world/cameras/{name}/depth", number, rr.DepthImage(observation.depth[row], meter=1.0))
        points, colors = coloured_cloud(observation, config, _STRIDE)
        log("world/cloud", number, rr.Points3D(points, colors=colors))
        seen = view(episode, number) if view is not None else None
        scores = candidates.quality
        if seen is not None and seen.choice is not None and seen.choice.scores is not None:
            scores = seen.choice.scores
            log("scores", number, rr.BarChart(np.asarray(scores, dtype=np.float64)))
        if len(candidates):
            pairs = zip(candidates.poses, candidates.widths, strict=True)
            strips = [_strip(Action(candidates.kind, pose, float(width))) for pose, width in pairs]
            log("world/candidates", number, rr.LineStrips3D(strips, colors=shades(scores, "plasma"), radii=0.0006))
        if step.action is not None:
            log("world/taken", number, rr.LineStrips3D([_strip(step.action)], colors=[_TAKEN], radii=0.0015))
        if seen is not None and seen.choice is not None:
            log("world/chosen", number, rr.LineStrips3D([_strip(seen.choice.action)], colors=[_CHOSEN], radii=0.002))
            if seen.percept is not None:
                cloud, mask = seen.percept.cloud, seen.choice.mask
                shade = shades(cloud.similarity if mask is None else mask)
                log("world/attention", number, rr.Points3D(cloud.points, colors=shade, radii=0.003))
        thing = "" if step.outcome.slot is None else f": {spec.objects[step.outcome.slot]}"
        told = f"{step.phase}, {step.outcome.reason.value.replace('_', ' ')}{thing}"
        log("outcome", number, rr.TextLog(told, level="INFO" if step.outcome.success else "WARN"))
    with atomic_write(out) as temporary:
        store = chunk.ChunkStore.from_chunks(chunks)
        store.write_rrd(str(temporary), application_id=APPLICATION, recording_id="-".join(map(str, spec.seed)))
        settle(temporary)
    return len(episode.steps)


def _strip(action: Action) -> F64:
    """A gripper as one line through its fingers and back to its stem; a placement as a short mast."""
    if action.kind == "place":
        return np.stack([action.pose[:3], action.pose[:3] + np.array([0.0, 0.0, 0.06])]).astype(np.float64)
    fork = gripper_lines(action.pose, action.width)
    line: F64 = np.concatenate([fork[:2], fork[4:5], fork[5:6], fork[4:5], fork[2:4]])
    return line
