"""Where grasp candidates come from: the package's sampler, files of GraspNet rows, or a detector that the user installed.

A source is written ``NAME``, ``NAME:ARGUMENT`` or a path, each with ``@FRAME`` behind it where rows are not in the first camera's
frame: ``sampler``, ``grasps/``, ``grasps/@world``, ``my_detector:weights.pt@1``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from srcli.actions.closing import network_file
from srcli.actions.graspnet import GraspGroup, check_group, from_candidates, quality_of, read_grasps, suppress, to_candidates
from srcli.actions.grasps import sample_grasps
from srcli.actions.gripper import GRIPPER
from srcli.actions.poses import canonical_poses
from srcli.actions.quality import rounded
from srcli.artifacts.digests import code_origin, content_digest
from srcli.config.candidates import CandidateConfig
from srcli.errors import ArtifactError, ConfigError, SceneError, unknown_name
from srcli.types import Bool, Candidates, EpisodeSpec, Observation

ENTRY_POINTS = "srcli.grasps"
"""Group in which an installed package announces a detector: ``factory(argument: str) -> Callable[[Observation], result]``, the
result :class:`Candidates` in the world frame or an array (N, 17) of GraspNet rows. A factory with a parameter ``device`` is told
the one of ``--device``."""
SAMPLER = "sampler"
FRAMES = "world, or the number of the view in whose camera frame the rows are"

Detector = Callable[[Observation], Any]
Sampler = Callable[[Observation], Candidates]


class GraspSource(Protocol):
    """Gives grasp candidates. Called with an observation alone it serves any episode (files need to know which)."""

    @property
    def name(self) -> str:
        """As the user wrote it."""
        ...

    def __call__(self, observation: Observation) -> Candidates: ...

    def episode(self, spec: EpisodeSpec) -> Sampler:
        """The sampler of one episode, called once per attempt in order."""
        ...


@dataclass(frozen=True)
class SamplerSource:
    """The package's sampler."""

    config: CandidateConfig
    name: str = SAMPLER

    def __call__(self, observation: Observation) -> Candidates:
        return sample_grasps(observation, self.config)

    def episode(self, spec: EpisodeSpec) -> Sampler:
        """The same for all."""
        return self


@dataclass(frozen=True)
class DetectorSource:
    """A detector, whose results are checked, brought into the world frame and thinned out as :func:`prepare` says."""

    detector: Detector
    config: CandidateConfig
    frame: int | None = 0
    name: str = "detector"

    def __call__(self, observation: Observation) -> Candidates:
        found = self.detector(observation)
        if isinstance(found, Candidates):
            return prepare(from_candidates(_checked(found, self.name), depth=0.0), self.config)
        group = check_group(found.rows if isinstance(found, GraspGroup) else found, f"the detector '{self.name}'")
        return prepare(_in_world(group, observation, self.frame), self.config)

    def episode(self, spec: EpisodeSpec) -> Sampler:
        """The same for all."""
        return self


@dataclass(frozen=True)
class FileSource:
    """Rows from ``.npy`` files. A file serves every decision. In a folder an episode's rows are ``KEY.npy`` for all its attempts,
    or ``KEY/0000.npy``, ``KEY/0001.npy``, ... for one attempt each (the last one serves the rest); KEY as :func:`episode_keys`.
    """

    path: Path
    config: CandidateConfig
    frame: int | None = 0
    name: str = field(default="files")

    def __call__(self, observation: Observation) -> Candidates:
        if self.path.is_dir():
            raise ConfigError(f"{self.path} holds grasps by episode", "give one .npy file where there are no episodes")
        return self._read(self.path, observation)

    def episode(self, spec: EpisodeSpec) -> Sampler:
        """The rows of that episode.

        Raises:
            ArtifactError: the folder has none for it.
        """
        if not self.path.is_dir():
            return self
        files = self._files(spec)
        calls = iter(range(len(files)))
        last = len(files) - 1
        return lambda observation: self._read(files[next(calls, last)], observation)

    def _files(self, spec: EpisodeSpec) -> list[Path]:
        keys = episode_keys(spec)
        for key in keys:
            if (self.path / f"{key}.npy").is_file():
                return [self.path / f"{key}.npy"]
            several = sorted((self.path / key).glob("*.npy"))
            if several:
                return several
        wanted = " or ".join(f"{key}.npy" for key in keys)
        raise ArtifactError(f"{self.path} has no grasps for this episode", f"expected {wanted}, or a folder of that name")

    def _read(self, path: Path, observation: Observation) -> Candidates:
        group = _in_world(read_grasps(path), observation, self.frame)
        found = prepare(group, self.config)
        if len(group) and not len(found):
            inside, downwards = usable(group, self.config)
            raise ArtifactError(
                f"{path}: none of its {len(group)} grasps can be used: {int(inside.sum())} have their fingertips in the "
                f"workspace, {int(downwards.sum())} do not approach upwards",
                "rows are in metres, in the frame of the first camera; @world or @VIEW behind the path names another",
            )
        return found


def grasp_source(spec: str, config: CandidateConfig) -> GraspSource:
    """A source from what the user wrote.

    Args:
        spec: ``sampler``, the path of a ``.npy`` file or of a folder of them, or ``NAME[:ARGUMENT]`` of an installed detector;
            with ``@world`` or ``@VIEW`` behind it where rows are not in the frame of the first camera (``@0``).
        config: the sampler's settings; of other sources the workspace and ``count`` hold.

    Raises:
        UnknownNameError: neither a path nor an installed detector.
        ConfigError: the frame makes no sense, or the installed detector cannot be loaded.
    """
    name, frame = _split_frame(spec)
    if name == SAMPLER:
        return SamplerSource(config)
    if Path(name).exists():
        _only_rows(Path(name))
        return FileSource(Path(name), config, frame, name=spec)
    point, argument = _announced(name)
    return DetectorSource(_load(point, argument), config, frame, name=spec)


def check_source(config: CandidateConfig) -> None:
    """Refuse a source that cannot serve, before anything is started: no such file or detector, or rows that are none.

    Raises:
        UnknownNameError, ConfigError, ArtifactError: as :func:`grasp_source`, and for a damaged file or a folder without any.
    """
    name, _ = _split_frame(config.source)
    path = Path(name)
    if name == SAMPLER:
        return
    if not path.exists():
        _announced(name)
    elif path.is_dir():
        if next(path.rglob("*.npy"), None) is None:
            raise ArtifactError(f"{path} holds no .npy file of grasps", "expected files named after episodes, docs/graspnet.md")
    else:
        _only_rows(path)
        read_grasps(path)


def _only_rows(path: Path) -> None:
    if path.is_file() and path.suffix != ".npy":
        raise ConfigError(f"{path} is not a .npy file of grasps", "a detector's weights are given as NAME:PATH")


def _announced(name: str) -> tuple[EntryPoint, str]:
    """The entry point of ``NAME[:ARGUMENT]``, and the argument."""
    head, _, argument = name.partition(":")
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == head:
            return point, argument
    if name.endswith(".npy") or "/" in head:
        raise ArtifactError(f"no grasp file or folder {name}")
    raise unknown_name("source of grasps", head, source_names())


_device: str | None = None


def use_device(device: str) -> None:
    """Let detectors that are made in this process from now on, and that take a ``device``, run there."""
    global _device
    _device = device


def content_of(config: CandidateConfig) -> dict[str, str]:
    """Sums of what the candidates depend on beside the parameters: files of rows and weights, code of detectors. Mostly empty."""
    name, _ = _split_frame(config.source)
    head, _, argument = name.partition(":")
    rating = network_file(config.quality)
    found = {
        "candidates.quality": content_digest(rating) if rating else "",
        "candidates.source": content_digest(Path(name)),
    }
    if name != SAMPLER and not found["candidates.source"]:
        found["candidates.source"] = content_digest(Path(argument)) if argument else ""
        for point in entry_points(group=ENTRY_POINTS):
            if point.name == head and not point.value.startswith("srcli."):
                found["candidates.detector"] = code_origin(_factory(point))
    return {key: value for key, value in found.items() if value}


def source_names() -> tuple[str, ...]:
    """The sampler and all installed detectors."""
    return tuple(sorted({SAMPLER, *(point.name for point in entry_points(group=ENTRY_POINTS))}))


def episode_keys(spec: EpisodeSpec) -> tuple[str, ...]:
    """Names under which an episode's grasps are looked for: its seed as ``ROOT-DOMAIN-INDEX``, then the name of its test case."""
    seed = "-".join(str(part) for part in spec.seed)
    return (seed, spec.case) if spec.case else (seed,)


def prepare(group: GraspGroup, config: CandidateConfig) -> Candidates:
    """Rows in the world frame as candidates: fingertips in the workspace, approach not upwards, no near doubles
    (``config.nms_distance``, ``config.nms_angle``), best first, at most ``config.count``; widths cut to what the gripper opens.
    Scores become rounded qualities first: of equal ones the earlier row is taken.
    """
    inside, downwards = usable(group, config)
    kept = group.take(inside & downwards)
    kept = kept.scored(rounded(quality_of(kept.scores)))
    found = to_candidates(kept.take(suppress(kept, config.nms_distance, config.nms_angle)[: config.count]))
    return Candidates(found.poses, np.minimum(found.widths, np.float32(GRIPPER.max_opening)), found.quality)


def usable(group: GraspGroup, config: CandidateConfig) -> tuple[Bool, Bool]:
    """Of rows in the world frame, (N,) each: whether the fingertips are in the workspace, and whether the approach goes down."""
    lower, upper = np.array(config.lower), np.array(config.upper)
    lower[2] = 0.0
    inside: Bool = np.all((group.tips >= lower) & (group.tips <= upper), axis=1)
    downwards: Bool = group.rotations[:, 2, 0] < 0
    return inside, downwards


def _split_frame(spec: str) -> tuple[str, int | None]:
    name, at, frame = spec.rpartition("@")
    if not at or Path(spec).exists():
        return spec, 0
    if frame == "world":
        return name, None
    if not frame.isdecimal():
        raise ConfigError(f"'{frame}' is no frame of grasps", f"expected {FRAMES}")
    return name, int(frame)


def _in_world(group: GraspGroup, observation: Observation, frame: int | None) -> GraspGroup:
    if frame is None:
        return group
    if frame >= len(observation.T_world_cam):
        raise ConfigError(f"grasps are given in the frame of view {frame}, but there are {len(observation.T_world_cam)} views")
    return group.moved(observation.T_world_cam[frame])


def _checked(found: Candidates, name: str) -> Candidates:
    count = len(found)
    fits = found.poses.shape == (count, 7) and found.widths.shape == (count,) and found.quality.shape == (count,)
    if not fits or not all(bool(np.isfinite(part).all()) for part in (found.poses, found.widths, found.quality)):
        raise SceneError(
            f"the detector '{name}' gave candidates of a wrong shape, or NaN", "poses (K, 7), widths (K,), quality (K,)"
        )
    if bool((np.linalg.norm(found.poses[:, 3:], axis=1) < 0.5).any()):
        raise SceneError(f"the detector '{name}' gave a quaternion that is none", "poses are position and unit quaternion xyzw")
    return Candidates(canonical_poses(found.poses), found.widths, found.quality)


def _load(point: EntryPoint, argument: str) -> Detector:
    factory = _factory(point)
    placed = _device is not None and "device" in signature(factory).parameters
    found: Detector = factory(argument, device=_device) if placed else factory(argument)
    return found


def _factory(point: EntryPoint) -> Callable[..., Any]:
    try:
        factory: Callable[..., Any] = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the source of grasps '{point.name}' cannot be loaded: {error}", f"announced as {point.value}"
        ) from error
    return factory
