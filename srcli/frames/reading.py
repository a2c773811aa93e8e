"""Folders of frames, of whatever format: told apart, read and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from srcli.artifacts.core import atomic_folder, output_lock
from srcli.artifacts.marks import is_marked, mark
from srcli.errors import ArtifactError, ConfigError, DiskError, unknown_name
from srcli.frames.bop import is_bop, read_bop, write_bop
from srcli.frames.graspnet import is_graspnet, read_graspnet, write_graspnet
from srcli.frames.native import is_native, read_native, write_native
from srcli.frames.observation import Observation
from srcli.perception.geometry import check_observation

_IS: dict[str, Callable[[Path], bool]] = {"native": is_native, "bop": is_bop, "graspnet": is_graspnet}
_READ: dict[str, Callable[[Path, Sequence[str]], Observation]] = {
    "native": read_native,
    "bop": read_bop,
    "graspnet": read_graspnet,
}
_WRITE: dict[str, Callable[[Path, Observation], None]] = {"native": write_native, "bop": write_bop, "graspnet": write_graspnet}
FORMATS = tuple(_IS)


def read_frames(folder: Path | str, format: str = "", cameras: Sequence[str] = ()) -> Observation:
    """The views of a folder, as they are: nothing is checked but that files and calibration can be read.

    Args:
        format: one of :data:`FORMATS`; empty: told from the files.
        cameras: names or numbers of the views to use.

    Raises:
        ArtifactError: no such folder, of no known format, or a file is missing or damaged.
        UnknownNameError: no such format.
        SceneError: a view without any depth.
    """
    place = Path(folder)
    if format and format not in FORMATS:
        raise unknown_name("format of frames", format, FORMATS)
    if not place.is_dir():
        what = "is a file" if place.exists() else "no such folder"
        raise ArtifactError(f"{place}: {what}", "a folder of frames is expected (docs/frames.md); srcli frames writes an example")
    kind = format or next((name for name, fits in _IS.items() if fits(place)), "")
    if not kind:
        raise ArtifactError(
            f"{place}: holds no frames: no cameras.json (native), scene_camera.json (BOP) or camK.npy (GraspNet)",
            "docs/frames.md shows what each format holds, and how to write one from a bag or a video",
        )
    read = _READ[kind](place, cameras)
    check_observation(read)
    return read


def write_frames(folder: Path | str, observation: Observation, format: str = "native", force: bool = False) -> Path:
    """Write an observation as a folder of frames, whole or not at all.

    Args:
        force: replace a folder that this package has written; recordings of others are never replaced.

    Returns:
        The folder.

    Raises:
        ConfigError: there is a folder already that is not empty, or that others have written.
        UnknownNameError: no such format.
        DiskError: it cannot be written.
    """
    place = Path(folder)
    if format not in FORMATS:
        raise unknown_name("format of frames", format, FORMATS)
    if place.is_dir() and any(place.iterdir()):
        if not force:
            hint = "choose another folder, or --force to replace what srcli has written there"
            raise ConfigError(f"{place}: is not empty", hint)
        if not is_marked(place):
            hint = "choose another folder, or move it away"
            raise ConfigError(f"{place}: was not written by srcli, so it is not replaced", hint)
    try:
        with output_lock(place, folder=True), atomic_folder(place) as temporary:
            _WRITE[format](temporary, observation)
            mark(temporary, "frames")
    except OSError as error:
        raise DiskError(f"{place}: cannot be written: {error.strerror or error}", "check path and free space") from error
    return place
