"""What all artifacts share: opening with clear errors, writing atomically, one writer per output.

Every file carries the same five attributes on its root: the schema's name and version, the version of srcli that wrote it, the
recorded configuration (JSON) and a mark that it is complete. None of them holds a time, a host or a path, and HDF5 object times
are off, so that the same content gives the same bytes.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from srcli import __version__
from srcli.artifacts.output import Output
from srcli.errors import ArtifactError, BusyError, ConfigError, DiskError

SCHEMA = "schema"
SCHEMA_VERSION = "schema_version"
SRCLI_VERSION = "srcli_version"
CONFIG = "config"
COMPLETE = "complete"

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO})
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


def to_json(value: object) -> str:
    """Compact JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        raise TypeError("a path does not belong into an artifact")
    raise TypeError(f"{type(value).__name__} does not belong into an artifact")


def encoder_label(identity: Mapping[str, Any]) -> str:
    """An encoder's recorded identity for messages: name and the first digits of its weights' sha256."""
    return f"{identity.get('name', '?')} {str(identity.get('sha256', '?'))[:12]}"


def config_digest(config: Mapping[str, Any]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of the canonical JSON of a configuration."""
    return hashlib.sha256(to_json(config).encode()).hexdigest()[:12]


def differing_keys(recorded: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys in which two configurations differ, as ``key (recorded -> wanted)``, sorted."""
    out: list[str] = []
    for key in sorted(set(recorded) | set(wanted)):
        a, b = recorded.get(key, "absent"), wanted.get(key, "absent")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            out += differing_keys(a, b, f"{prefix}{key}.")
        elif to_json(a) != to_json(b):
            out.append(f"{prefix}{key} ({_short(a)} -> {_short(b)})")
    return out


def _short(value: object) -> str:
    text = to_json(value)
    return text if len(text) <= 40 else text[:37] + "..."


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it comes back from a file (tuples become lists)."""
    result: dict[str, Any] = json.loads(to_json(config))
    return result


# ---------------------------------------------------------------------------------------------------------------- reading


@contextmanager
def open_artifact(path: Path | str, schema: Schema | None = None) -> Iterator[h5py.File]:
    """Open an artifact for reading.

    Args:
        path: the file.
        schema: what it has to be; None accepts every kind that srcli writes.

    Raises:
        ArtifactError: missing, empty, not HDF5, truncated, foreign, of another kind or version, incomplete, or it turns out to be
            damaged while it is read.
        DiskError: not readable by this user.
    """
    path = Path(path)
    handle = _open(path, schema)
    try:
        _check(handle, path, schema)
        with reading(path):
            yield handle
    finally:
        handle.close()


def _open(path: Path, schema: Schema | None) -> h5py.File:
    remake = f"make it with `{schema.command}`, or check the path" if schema else "check the path"
    if path.is_dir():
        raise ArtifactError(f"{path}: is a folder, not a file", "give the path of one artifact")
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_SIGNATURE))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{path}: no such file", remake) from None
    except OSError as error:
        raise DiskError(f"{path}: cannot be read ({error.strerror})", "check its permissions") from None
    if head != _SIGNATURE:
        if not head:
            what = "is empty"
        elif _SIGNATURE.startswith(head):
            what = "is truncated"
        else:
            what = "is not an HDF5 file"
        raise ArtifactError(f"{path}: {what}", f"{remake}; nothing was changed")
    for options in ({}, {"locking": False}):
        # The second try is for file systems without locks.
        try:
            return h5py.File(path, "r", **options)
        except (OSError, RuntimeError):
            continue
    raise ArtifactError(f"{path}: is truncated or damaged", "copy it again from its source, or delete it and make it anew")


def _check(handle: h5py.File, path: Path, schema: Schema | None) -> None:
    with reading(path):
        attrs = handle.attrs
        name = str(attrs[SCHEMA]) if SCHEMA in attrs else ""
        version = int(attrs[SCHEMA_VERSION]) if SCHEMA_VERSION in attrs else -1
        complete = bool(attrs[COMPLETE]) if COMPLETE in attrs else False
    if name not in SCHEMAS:
        raise ArtifactError(f"{path}: is HDF5, but not a file of srcli", "check the path; `srcli info FILE` shows what a file is")
    found = SCHEMAS[name]
    if schema is not None and found != schema:
        raise ArtifactError(
            f"{path}: is a {found.noun} file where a {schema.noun} file is needed", f"give the output of `{schema.command}`"
        )
    if version not in (found.version, *found.reads):
        raise ArtifactError(
            f"{path}: has {name} schema version {version}; this srcli reads version "
            f"{' and '.join(map(str, sorted((found.version, *found.reads))))}",
            f"make it anew with `{found.command}`, or use the srcli that wrote it",
        )
    if not complete:
        raise ArtifactError(f"{path}: is incomplete", f"delete it and run `{found.command}` again")


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn what h5py raises on damaged or missing content into an :class:`ArtifactError`."""
    try:
        yield
    except KeyError as error:
        raise ArtifactError(f"{path}: breaks its contract: {_line(error)}", "make it anew, or copy it again") from None
    except (OSError, RuntimeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path}: is damaged: {_line(error)}", "copy it again from its source, or make it anew") from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).strip("'\"").split())[:160]


def read_config(handle: h5py.File) -> dict[str, Any]:
    """The recorded configuration of an open artifact."""
    config: dict[str, Any] = json.loads(handle.attrs[CONFIG])
    return config


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        ArtifactError: the file is missing.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file", "check the path") from None
    return digest.hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder with their names; empty where there is neither."""
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        return ""
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()


def code_origin(thing: object) -> str:
    """SHA-256 of the source file that a class or function of another package comes from; empty for this package's own."""
    module = sys.modules.get(getattr(thing, "__module__", ""))
    file = getattr(module, "__file__", None)
    if module is None or file is None or module.__name__.partition(".")[0] == "srcli":
        return ""
    return content_digest(Path(file))


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
    """Write an artifact: under a temporary name, marked complete at the end, moved to its name when it is on the disk.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    with atomic_write(path) as temporary, closing(Output(temporary)) as output:
        # Earliest formats: every reader of HDF5 knows them.
        handle = h5py.File(output, "w", libver=("earliest", "v110"))
        _outputs[handle.filename] = output
        try:
            stamp(handle, schema, config)
            yield handle
            handle.attrs[COMPLETE] = True
        finally:
            del _outputs[handle.filename]
            handle.close()
        output.raise_error()


# What is being written in this process, by the name that h5py gives it.
_outputs: dict[str, Output] = {}


def check_output(group: h5py.Group) -> None:
    """Stop early when the disk has refused something.

    Raises:
        OSError: a write to this file has failed.
    """
    output = _outputs.get(group.file.filename)
    if output is not None:
        output.raise_error()


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success flush it to the disk and move it there, else remove it.

    The file under ``path`` is at every moment either the old or the whole new one.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        disk = disk_error(error, path)
        if disk is None:
            raise
        raise disk from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A rename is on the disk only when its folder is; not every platform can open a folder.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(error: BaseException, path: Path) -> DiskError | None:
    """The :class:`DiskError` that an exception of the file system or of HDF5 stands for, or None."""
    code = getattr(error, "errno", None)
    if code is None:
        # HDF5 reports the system's error number only inside its message.
        match = re.search(r"errno = (\d+)", str(error))
        code = int(match.group(1)) if match else None
    if code not in _DISK_ERRNOS:
        return None
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskError(f"{path}: the disk is full", "free some space and run the same command again; finished work is kept")
    return DiskError(f"{path}: cannot be written ({os.strerror(code)})", "check the permissions of the folder, or choose another")


def sidecar_path(path: Path) -> Path:
    """The JSON file beside an output.

    Raises:
        ConfigError: it would be the output itself.
    """
    if path.suffix == ".json":
        raise ConfigError(f"{path}: a .json file of that name goes beside the output", "give the output another ending")
    return path.with_suffix(".json")


@contextmanager
def output_lock(path: Path | str) -> Iterator[None]:
    """Hold an output for this process. The system lets go of it when the process ends, however it ends.

    Raises:
        BusyError: another process holds it.
        DiskError: the folder is not writable.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        lock.acquire()
    except Timeout:
        raise BusyError(f"{path}: another run is writing it", "wait for that run, or give another output") from None
    except OSError as error:
        raise disk_error(error, path) or error from None
    try:
        # What a killed run left behind; nobody else writes here now.
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
