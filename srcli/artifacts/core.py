"""What all artifacts share: opening with clear errors, writing atomically, one writer per output.

Every file carries the same attributes on its root: the schema's name and version, the version of srcli that wrote it, the
recorded configuration (JSON), and marks that it is complete and sealed (:mod:`srcli.artifacts.seal`). None of them holds a time,
a host or a path, and HDF5 object times are off, so that the same content gives the same bytes.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from srcli import __version__
from srcli.artifacts.digests import to_json
from srcli.artifacts.output import Output
from srcli.artifacts.seal import Vouched, has_seal, identity, seal, vouch, vouched_for
from srcli.artifacts.structure import check_structure
from srcli.artifacts.writing import Held
from srcli.artifacts.writing import atomic_folder as atomic_folder
from srcli.artifacts.writing import atomic_write as atomic_write
from srcli.artifacts.writing import check_target as check_target
from srcli.artifacts.writing import disk_error as disk_error
from srcli.artifacts.writing import output_lock as output_lock
from srcli.artifacts.writing import sidecar_path as sidecar_path
from srcli.errors import ArtifactError, DiskError

_log = logging.getLogger(__name__)

SCHEMA = "schema"
SCHEMA_VERSION = "schema_version"
SRCLI_VERSION = "srcli_version"
CONFIG = "config"
COMPLETE = "complete"
SEALED = "sealed"

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# The raw-data filters: readable by any HDF5 build; the checksum lets `validate` find a flipped bit.
_FILTERS: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}


@dataclass(frozen=True, slots=True)
class Schema:
    """The name and version of one kind of artifact, and the command that makes it.

    Attributes:
        reads: earlier versions that are read as well.
    """

    name: str
    version: int
    noun: str
    command: str
    reads: tuple[int, ...] = ()


DEMOS = Schema("srcli/demos", 2, "demonstrations", "srcli collect", (1,))
FEATURES = Schema("srcli/features", 1, "features", "srcli featurize")
POLICY = Schema("srcli/policy", 1, "policy", "srcli train")
EVALUATION = Schema("srcli/evaluation", 1, "evaluation", "srcli evaluate")
SCHEMAS: dict[str, Schema] = {s.name: s for s in (DEMOS, FEATURES, POLICY, EVALUATION)}


# ---------------------------------------------------------------------------------------------------------------- reading


# What this process has looked at, and the files of earlier versions that it has told of.
_looked_at: set[tuple[int, ...]] = set()
_told: set[Path] = set()


@contextmanager
def open_artifact(path: Path | str, schema: Schema | None = None, *, quiet: bool = False) -> Iterator[h5py.File]:
    """Open an artifact for reading: its bytes are compared with its seal and its structure is looked at first.

    Args:
        path: the file.
        schema: what it has to be; None accepts every kind that srcli writes.
        quiet: do not warn of a file without a seal.

    Raises:
        ArtifactError: missing, empty, not HDF5, truncated, damaged, foreign, of another kind or version, incomplete, of a
            structure that srcli does not write, or it turns out to break its contract while it is read.
        DiskError: not readable by this user.
    """
    path = Path(path)
    vouched = _vouched(path, schema)
    handle = _open(path)
    try:
        with reading(path):
            _check(handle, path, schema, vouched)
            state = identity(path)
            if state not in _looked_at:
                check_structure(handle, path)
                _looked_at.add(state)
        if vouched.state == "open" and not quiet:
            _tell(path)
        with reading(path):
            yield handle
    finally:
        handle.close()


@contextmanager
def reopen_artifact(path: Path, schema: Schema, state: tuple[int, ...]) -> Iterator[h5py.File]:
    """Open an artifact that this process has looked at, without looking at it again unless it has changed.

    Args:
        state: its :func:`srcli.artifacts.seal.identity` when it was opened before.

    Raises:
        ArtifactError: as :func:`open_artifact`.
    """
    try:
        same = identity(path) == state
    except OSError:
        same = False
    if not same:
        with open_artifact(path, schema) as handle:
            yield handle
        return
    handle = _open(path)
    try:
        with reading(path):
            yield handle
    finally:
        handle.close()


Looked = tuple[dict[tuple[int, ...], Vouched], frozenset[tuple[int, ...]]]


def looked_at() -> Looked:
    """What this process knows of files, for its workers: they need not look at the same files again."""
    return dict(vouched_for()), frozenset(_looked_at)


def take_over(known: Looked) -> None:
    """Rely on what the process that started this one has looked at; a file that has changed since is looked at anew."""
    vouched_for().update(known[0])
    _looked_at.update(known[1])


def is_sealed(path: Path) -> bool:
    """Whether damage to a file would be noticed: it is sealed, or comes with this package.

    Raises:
        ArtifactError: it is damaged.
    """
    return _vouched(path, None).state != "open"


def _tell(path: Path) -> None:
    # Workers read what the process that started them has told of.
    if path not in _told and multiprocessing.parent_process() is None:
        _told.add(path)
        _log.warning("%s: is of an earlier version and has no digest: damage to it may go unnoticed", path)


def _vouched(path: Path, schema: Schema | None) -> Vouched:
    remake = f"make it with `{schema.command}`, or check the path" if schema else "check the path"
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ArtifactError(f"{path}: is a folder, not a file", "give the path of one artifact")
        if not stat.S_ISREG(mode):
            # Opening a pipe would wait for whoever writes into it.
            raise ArtifactError(f"{path}: is not a regular file", "give the path of one artifact")
        with path.open("rb") as stream:
            head = stream.read(len(_SIGNATURE))
        if head == _SIGNATURE:
            return vouch(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{path}: no such file", remake) from None
    except OSError as error:
        raise DiskError(f"{path}: cannot be read ({error.strerror})", "check its permissions") from None
    except ValueError:
        raise ArtifactError(f"{str(path)!a}: is no path", "check the path") from None
    if not head:
        what = "is empty"
    elif _SIGNATURE.startswith(head):
        what = "is truncated"
    else:
        what = "is not an HDF5 file"
    raise ArtifactError(f"{path}: {what}", f"{remake}; nothing was changed")


def _open(path: Path) -> h5py.File:
    for options in ({}, {"locking": False}):
        # The second try is for file systems without locks.
        try:
            return h5py.File(path, "r", **options)
        except (OSError, RuntimeError):
            continue
    raise ArtifactError(f"{path}: is truncated or damaged", "copy it again from its source, or delete it and make it anew")


def _check(handle: h5py.File, path: Path, schema: Schema | None, vouched: Vouched) -> None:
    attrs = handle.attrs
    name, version = attrs.get(SCHEMA, ""), attrs.get(SCHEMA_VERSION)
    if not isinstance(name, str) or name not in SCHEMAS:
        raise ArtifactError(f"{path}: is HDF5, but not a file of srcli", "check the path; `srcli info FILE` shows what a file is")
    found = SCHEMAS[name]
    if schema is not None and found != schema:
        raise ArtifactError(
            f"{path}: is a {found.noun} file where a {schema.noun} file is needed", f"give the output of `{schema.command}`"
        )
    if not isinstance(version, np.integer) or version not in (found.version, *found.reads):
        raise ArtifactError(
            f"{path}: has {name} schema version {str(version)[:20]}; this srcli reads version "
            f"{' and '.join(map(str, sorted((found.version, *found.reads))))}",
            f"make it anew with `{found.command}`, or use the srcli that wrote it",
        )
    if not _is_true(attrs.get(COMPLETE)):
        raise ArtifactError(f"{path}: is incomplete", f"delete it and run `{found.command}` again")
    if SEALED in attrs and vouched.state != "sealed":
        raise ArtifactError(
            f"{path}: is truncated, or was changed after it was written: its digest is gone",
            "copy it again from its source, or make it anew",
        )


def _is_true(value: object) -> bool:
    return isinstance(value, np.bool_) and bool(value)


_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError)
"""What h5py, numpy and json raise when content is not what it should be."""


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn what h5py raises on damaged, missing or unsuitable content into an :class:`ArtifactError`."""
    try:
        yield
    except (OSError, RuntimeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path}: is damaged: {_line(error)}", "copy it again from its source, or make it anew") from error
    except _DAMAGE as error:
        raise ArtifactError(f"{path}: breaks its contract: {_line(error)}", "make it anew, or copy it again") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).strip("'\"").split())[:160] or type(error).__name__


def read_config(handle: h5py.File) -> dict[str, Any]:
    """The recorded configuration of an open artifact."""
    return read_json(handle, CONFIG)


def read_json(holder: h5py.Group, name: str) -> dict[str, Any]:
    """A mapping that an attribute holds as JSON.

    Raises:
        KeyError: there is no such attribute.
        ValueError: it is no mapping in JSON.
    """
    text = holder.attrs[name]
    value = parse_json(text) if isinstance(text, str) else None
    if not isinstance(value, dict):
        raise ValueError(f"attribute '{name}' is no mapping in JSON")
    return value


def parse_json(text: str | bytes) -> Any:
    """Plain data of JSON; NaN and infinity, which JSON does not know, are read as h5py files of earlier versions hold them.

    Raises:
        ValueError: not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def array(holder: h5py.Group, name: str, kinds: str, ndim: int) -> np.ndarray[Any, Any]:
    """A whole array of a group.

    Args:
        kinds: numpy's letters of the kinds of numbers that it may hold: ``b`` truth values, ``i`` and ``u`` integers, ``f``
            floating-point numbers, ``S`` text.
        ndim: its axes.

    Raises:
        KeyError: there is none.
        ValueError: it is not of that kind.
    """
    dataset = holder[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in kinds or dataset.ndim != ndim:
        raise ValueError(f"'{dataset.name}' is not an array of the right kind")
    value: np.ndarray[Any, Any] = dataset[()]
    return value


# ---------------------------------------------------------------------------------------------------------------- writing


def stamp(handle: h5py.File, schema: Schema, config: Mapping[str, Any]) -> None:
    """Write the common attributes except the mark of completeness."""
    handle.attrs[SCHEMA] = schema.name
    handle.attrs[SCHEMA_VERSION] = schema.version
    handle.attrs[SRCLI_VERSION] = __version__
    handle.attrs[CONFIG] = to_json(config)


def put(group: h5py.Group, key: str, value: np.ndarray[Any, Any], chunks: tuple[int, ...] | None = None) -> None:
    """Store an array: small or empty ones contiguously, others compressed in the given chunks."""
    if (chunks is None and (value.nbytes < 4096 or value.ndim == 0)) or value.size == 0:
        group.create_dataset(key, data=value, track_times=False)
    else:
        group.create_dataset(key, data=value, chunks=chunks or True, track_times=False, **_FILTERS)
    check_output(group)


def put_growing(group: h5py.Group, key: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    """A compressed dataset of one chunk per first index whose other axes may grow."""
    maxshape = (shape[0], *([None] * (len(shape) - 1)))
    chunks = (1, *(max(s, 1) for s in shape[1:]))
    return group.create_dataset(key, shape=shape, maxshape=maxshape, dtype=dtype, chunks=chunks, track_times=False, **_FILTERS)


@contextmanager
def create_artifact(path: Path | str, schema: Schema, config: Mapping[str, Any]) -> Iterator[h5py.File]:
    """Write an artifact: under a temporary name, marked complete and sealed at the end, moved to its name when it is on the disk.

    Raises:
        ArtifactError: a file stands there that is none of srcli's.
        DiskError: the disk is full or the place is not writable.
    """
    check_replaceable(Path(path))
    with atomic_write(path) as temporary:
        held = Held()
        with closing(Output(temporary)) as output:
            # What a signal raises while HDF5 calls back is dropped, and with it what was to be written.
            held.hold()
            try:
                # Earliest formats: every reader of HDF5 knows them.
                handle = h5py.File(output, "w", libver=("earliest", "v110"))
                _outputs[handle.filename] = output, held
                try:
                    stamp(handle, schema, config)
                    yield handle
                    handle.attrs[SEALED] = True
                    handle.attrs[COMPLETE] = True
                finally:
                    del _outputs[handle.filename]
                    handle.close()
            finally:
                held.let_go()
            output.raise_error()
        seal(temporary)


@contextmanager
def artifact_lock(path: Path | str) -> Iterator[None]:
    """Hold an output that becomes an artifact, as :func:`output_lock` does, and see at once that it may be replaced.

    Raises:
        ArtifactError: another program's file stands there.
        BusyError: another process holds it.
        ConfigError: it is a folder, a link, a device or a pipe.
        DiskError: the folder is not writable.
    """
    with output_lock(path):
        check_replaceable(Path(path))
        yield


def check_replaceable(path: Path) -> None:
    """Refuse to put an artifact in the place of a file that srcli has not written; a damaged one may be replaced.

    Raises:
        ArtifactError: another program's file stands there.
    """
    check_target(path)
    if not path.exists():
        return
    with path.open("rb") as stream:
        head = stream.read(len(_SIGNATURE))
    foreign = not _SIGNATURE.startswith(head)
    if head == _SIGNATURE and not has_seal(path):
        try:
            # HDF5 does not come back from some files.
            vouch(path)
            with h5py.File(path, "r", locking=False) as handle:
                foreign = handle.attrs.get(SCHEMA, "") not in SCHEMAS
        except ArtifactError:
            foreign = True
        except _DAMAGE:
            foreign = False
    if foreign:
        raise ArtifactError(f"{path}: is no file of srcli, so it is not replaced", "move it away, or give another output")


# What is being written in this process, by the name that h5py gives it, and the signals that wait meanwhile.
_outputs: dict[str, tuple[Output, Held]] = {}


def check_output(group: h5py.Group) -> None:
    """Stop early when the disk has refused something, or somebody has asked the process to end.

    Raises:
        OSError: a write to this file has failed.
    """
    output, held = _outputs.get(group.file.filename, (None, None))
    if output is not None and held is not None:
        output.raise_error()
        held.look()
