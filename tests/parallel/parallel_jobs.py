"""Functions that worker processes find by name."""

import os
import tempfile
import time

from srcli.errors import MismatchError

_offset = None


def start(offset):
    global _offset
    _offset = offset


def bad_start(offset):
    raise MismatchError("cannot start", "never mind")


_folder = None


def with_folder(job):
    """Keeps a temporary folder, as a world of the simulator does."""
    global _folder
    _folder = _folder or tempfile.TemporaryDirectory(prefix="kept-")
    return os.getpid()


def slow_first(job):
    time.sleep(0.3 if job == 0 else 0.0)
    return job * 10 + (_offset or 0)


def threads(job):
    return os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]


def fail(job):
    if job == 2:
        raise MismatchError("job 2 is wrong", "leave it out")
    return job


def die(job):
    if job == 2:
        os.kill(os.getpid(), 9)
    return job


def process(job):
    time.sleep(0.05)
    return os.getpid()


def noisy(job):
    os.write(1, b"noise")
    return job


def die_once(job):
    """Kill this process, or the Ray worker that it belongs to, if nobody has done so yet."""
    number, marker, whole = job
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getppid() if whole else os.getpid(), 9)
        time.sleep(30)
    return number


def surroundings(job):
    from srcli.parallel.branching import branch, can_branch

    return can_branch() and branch(os.getpid) != os.getpid(), os.getcwd(), os.environ.get("SRCLI_MARK")


_unnamed = lambda: None  # noqa: E731, no name by which another process could find it


def unnamed(job):
    return _unnamed


def local(job):
    return lambda: None


class Unwilling:
    def __reduce__(self):
        raise ValueError("not me")


def unwilling(job):
    return Unwilling()
