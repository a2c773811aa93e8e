"""Stored grasp candidates as GraspNet's rows of 17 numbers."""

from __future__ import annotations

from pathlib import Path

from srcli.actions.graspnet import from_candidates, write_grasps
from srcli.artifacts.demos import DemoDataset
from srcli.errors import SceneError
from srcli.exporting.folders import whole_folder


def export_graspnet(demos: DemoDataset, episodes: list[int], out: Path, force: bool) -> int:
    """``ROOT-DOMAIN-INDEX/0000.npy`` and so on, one file per attempt to grasp, in the frame of the first camera: what
    ``--grasps FOLDER`` reads.

    Returns:
        The number of files.

    Raises:
        SceneError: no attempt to grasp is among the episodes.
        ConfigError: something stands there already.
    """
    files = 0
    with whole_folder(out, force) as folder:
        for index in episodes:
            episode = demos.episode(index)
            for number, step in enumerate(episode.steps):
                if step.phase != "pick":
                    continue
                rows = from_candidates(step.candidates, step.observation.T_world_cam[0])
                write_grasps(folder / "-".join(map(str, episode.spec.seed)) / f"{number:04d}.npy", rows)
                files += 1
        if not files:
            raise SceneError(f"{demos.path}: holds no attempt to grasp", "placements have no rows of GraspNet")
    return files
