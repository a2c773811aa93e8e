"""What comes of damage: each damaged file is read as a stage would read it.

``refused`` with an error of the user's kind; ``unchanged``, the content read is the original's; ``changed``, it was accepted and
is another; ``unexpected``, any other exception; ``outside``, a file was read that only the damaged one names; ``slow``, over
5 seconds of processor time. A process that dies of it counts as ``crash``, told by whoever started it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from subject import Subject
from subjects import subjects

from srcli.errors import SrcliError

SLOW = 5.0
OUTCOMES = ("refused", "unchanged", "changed", "unexpected", "outside", "slow", "crash")
NEVER = ("unexpected", "outside", "slow", "crash")
_LONG_AGO = 1_000_000_000


class Canary:
    """A file that nothing may read: the time of its last access tells whether something has.

    Args:
        folder: it lies in a folder beside this one.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder.parent / "outside" / "secret.obj"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("v 0 0 0\n")
        self._reset()
        self.path.read_bytes()
        self.works = self.was_read()
        """False where the file system keeps no times of access."""

    def _reset(self) -> None:
        os.utime(self.path, (_LONG_AGO, time.time()))

    def was_read(self) -> bool:
        """Whether it was read since this was asked last."""
        if self.path.stat().st_atime == _LONG_AGO:
            return False
        self._reset()
        return True


@dataclass
class Bench:
    """A folder in which damaged files are read.

    Attributes:
        folder: the place.
        subjects: everything that is damaged.
    """

    folder: Path
    subjects: list[Subject] = field(init=False)
    canary: Canary = field(init=False)
    _originals: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.subjects = subjects(self.folder)
        self.canary = Canary(self.folder)
        for subject in self.subjects:
            for name, data in subject.beside.items():
                (self.folder / name).write_bytes(data)

    def outcome(self, subject: Subject, number: int) -> tuple[str, str]:
        """What came of mutation ``number``, and the words of an error."""
        path = self.folder / f"m{number}{subject.suffix}"
        path.write_bytes(subject.mutate(subject.data, random.Random(f"{subject.name}/{number}"), self.canary.path))
        original = self._original(subject)
        start, begun, words = time.monotonic(), time.process_time(), ""
        try:
            found = subject.read(path)
            result = "unchanged" if found == original else "changed"
        except SrcliError as error:
            result, words = "refused", error.message
        except Exception as error:
            result, words = "unexpected", f"{type(error).__name__}: {error}"
        finally:
            path.unlink(missing_ok=True)
        if self.canary.was_read():
            result, words = "outside", f"{result}; {words}"
        # A machine that does other things at once must not make a hang of it.
        if time.process_time() - begun > SLOW or time.monotonic() - start > 12 * SLOW:
            result = "slow"
        return result, words[:300]

    def _original(self, subject: Subject) -> str:
        if subject.name not in self._originals:
            path = self.folder / f"original{subject.suffix}"
            path.write_bytes(subject.data)
            self._originals[subject.name] = subject.read(path)
            path.unlink()
        return self._originals[subject.name]

    def rounds(self, count: int) -> Iterator[tuple[str, int, str, str]]:
        """(subject, number, outcome, words) of the first ``count`` mutations of each."""
        for number in range(count):
            for subject in self.subjects:
                yield (subject.name, number, *self.outcome(subject, number))
