"""Writing files: whole or not at all, by one writer, into regular files alone."""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import BusyError, ConfigError, DiskError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_log = logging.getLogger(__name__)
_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
_TEMPORARY = 12
"""Hexadecimal digits that make a temporary name unpredictable."""


def check_target(path: Path) -> None:
    """Refuse to write where no regular file is or can be. Links are not followed: what they point to would be replaced unseen.

    Raises:
        ConfigError: the path is empty or names a folder, a link, a device or a pipe.
    """
    if not path.name or "\0" in str(path):
        raise ConfigError(f"'{path}' names no file to write", "give the path of a file")
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    hint = f"give the path that it points to: {path.resolve()}" if stat.S_ISLNK(mode) else "give the path of a file"
    raise ConfigError(f"{path}: is {kind}, and is not written to", hint)


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Give an empty temporary file beside ``path``; on success flush it to the disk and move it there, else remove it.

    The file under ``path`` is at every moment either the old or the whole new one. The temporary name is random and new: no link
    that somebody has put there is followed.

    Raises:
        ConfigError: ``path`` is a folder, a link, a device or a pipe.
        DiskError: the disk is full or the place is not writable.
    """
    path = Path(path)
    check_target(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(_TEMPORARY // 2)}.tmp")
    try:
        _make_folder(path)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666))
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
        # Where no file can lie, none is left.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give an empty temporary folder beside ``path``; on success it takes the place of what is there, else it is removed.

    A process that is killed in the middle of that leaves what was there under a hidden name; :func:`output_lock` puts it back.

    Raises:
        ConfigError: ``path`` is a file, a link, a device or a pipe.
        DiskError: the disk is full or the place is not writable.
    """
    path = Path(path)
    if path.is_symlink() or not path.is_dir():
        check_target(path)
    if path.is_file():
        raise ConfigError(f"{path}: is a file, and no folder takes its place", "move it away, or give another output")
    name = f".{path.name}.{secrets.token_hex(_TEMPORARY // 2)}"
    temporary, old = path.with_name(f"{name}.tmp"), path.with_name(f"{name}.old.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.is_dir():
            os.rename(path, old)
        os.rename(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) or error from error
    finally:
        # Also where Ctrl-C has come between the two renames: nothing is removed that is not there under its own name.
        with suppress(OSError):
            if old.is_dir() and not os.path.lexists(path):
                os.rename(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        if path.is_dir():
            shutil.rmtree(old, ignore_errors=True)


class Held:
    """Signals that wait until they may be raised."""

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._waiting: list[int] = []

    def hold(self) -> None:
        """Note Ctrl-C and SIGTERM from now on, where a function of Python answers them. Only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if callable(signal.getsignal(number)):
                    self._handlers[number] = signal.signal(number, lambda found, _: self._waiting.append(found))

    def let_go(self) -> None:
        """Answer signals as before, those that have come first."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        while self._waiting:
            signal.raise_signal(self._waiting.pop(0))

    def look(self) -> None:
        """Answer what has come, here."""
        if self._waiting:
            self.let_go()


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (NotADirectoryError, FileExistsError) as error:
        raise DiskError(f"{path}: cannot be written: a part of its path is a file", "choose another folder") from error


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
def output_lock(path: Path | str, folder: bool = False) -> Iterator[None]:
    """Hold an output for this process. The system lets go of it when the process ends, however it ends.

    Args:
        folder: the output may be a folder.

    Where the file system knows no locks, a file stands for the lock; one that a killed run has left is named, to be deleted.
    What a killed run has left of the output is tidied up; a folder that it was about to replace is put back.

    Raises:
        BusyError: another process holds it.
        ConfigError: the output is a folder, a link, a device or a pipe.
        DiskError: the folder is not writable.
    """
    path = Path(path)
    _check_output(path, folder)
    lock = _locked(path)
    try:
        _tidy(path)
        _check_output(path, folder)
        yield
    finally:
        lock.release()


def _check_output(path: Path, folder: bool) -> None:
    if not (folder and path.is_dir() and not path.is_symlink()):
        check_target(path)


def _tidy(path: Path) -> None:
    """Remove what a killed run left of an output; nobody else writes it now. The only copy of a folder gets its name back."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]+(\.old)?\.tmp")
    found = [(file, match) for file in path.parent.iterdir() if (match := ours.fullmatch(file.name))]
    folders = [file for file, match in found if match.group(1) and file.is_dir() and not file.is_symlink()]
    try:
        if folders and not os.path.lexists(path):
            os.rename(max(folders, key=lambda file: file.stat().st_mtime_ns), path)
            _log.warning("%s: a killed run was about to replace it; what was there is put back", path)
    except OSError as error:
        raise disk_error(error, path) or error from error
    for leftover, _ in found:
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _locked(path: Path) -> BaseFileLock:
    from filelock import FileLock, Timeout

    file = path.with_name(f".{path.name}.lock")
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise ConfigError(f"{file}: is no regular file, so it cannot be a lock", "remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file, timeout=0)
        lock.acquire()
        return lock
    except Timeout:
        raise BusyError(f"{path}: another run is writing it", "wait for that run, or give another output") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise disk_error(error, path) or error from None
    except NotImplementedError:
        pass
    return _marked(path)


_told: set[Path] = set()


def _marked(path: Path) -> BaseFileLock:
    """The lock of a file system without locks: a file that is there while somebody writes."""
    from filelock import SoftFileLock, Timeout

    file = path.with_name(f".{path.name}.busy")
    if path.parent not in _told:
        _told.add(path.parent)
        _log.warning("%s: the file system has no locks; %s stands for one while this run lasts", path.parent, file.name)
    try:
        lock = SoftFileLock(file, timeout=0)
        lock.acquire()
        return lock
    except Timeout:
        raise BusyError(
            f"{path}: another run is writing it, or was killed", f"wait for it; if there is none, delete {file}"
        ) from None
    except OSError as error:
        raise disk_error(error, path) or error from None
