"""The folder of a session: one session's alone, whole after every sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ConfigError

if TYPE_CHECKING:
    from srcli.stages.play.turns import Turn

ROOT = Path("results/play")


@dataclass(frozen=True)
class Summary:
    """A session.

    Attributes:
        folder: where it is kept.
        scene: key of the scene, or the folder of frames.
        sentences: how many were said and not taken back.
        cases: the file that ``srcli evaluate --cases`` plays; None where there is no case.
        not_cases: which sentences are no case, and why.
        turns: as in ``session.json``.
    """

    folder: Path
    scene: str
    method: str
    sentences: int
    cases: Path | None
    not_cases: Sequence[str]
    turns: Sequence[Mapping[str, Any]]


@contextmanager
def session_folder(out_dir: Path | None, root: Path = ROOT) -> Iterator[Path]:
    """Reserve an empty folder, and hold its lock: the one given, or the next number below ``root``.

    One that was made here and is still empty at the end is taken away.

    Raises:
        BusyError: another session has it.
        ConfigError: it holds something already, or is no folder.
        DiskError: the place is not writable.
    """
    from srcli.artifacts.writing import output_lock

    folder = _numbered(root) if out_dir is None else out_dir
    made = out_dir is None or not folder.exists()
    if not made and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file", "give a folder for the session")
    with output_lock(folder, folder=True):
        _make(folder)
        try:
            if any(folder.iterdir()):
                raise ConfigError(f"{folder}: is not empty", "choose another folder: a session is not written over another")
            yield folder
        finally:
            if made:
                with suppress(OSError):
                    folder.rmdir()


def _numbered(root: Path) -> Path:
    """A new folder with the next number; of two sessions that ask at once each gets its own."""
    _make(root)
    number = max((int(path.name) for path in root.iterdir() if path.name.isdecimal()), default=0) + 1
    while not _make(root / f"{number}", new=True):
        number += 1
    return root / f"{number}"


def _make(folder: Path, new: bool = False) -> bool:
    """Make a folder; with ``new`` False is returned where it is there already."""
    from srcli.artifacts.writing import disk_error

    try:
        folder.mkdir(parents=True, exist_ok=not new)
    except (FileExistsError, NotADirectoryError) as error:
        if new and folder.is_dir():
            return False
        raise ConfigError(f"{folder}: cannot be a folder, a file is in its place", "give another --out") from error
    except OSError as error:
        raise disk_error(error, folder) or error from error
    return True


def write_session(folder: Path, scene: str, method: str, turns: Sequence[Turn]) -> Summary:
    """Write ``session.json`` and ``cases.yaml``, which goes where there is no case."""
    from srcli.artifacts.writing import atomic_write
    from srcli.evaluation.casewriting import NoCase, case_text
    from srcli.stages.play.verdict import case_of

    entries, not_cases = [], []
    for turn in turns:
        if turn.undone or turn.layout is None:
            continue
        try:
            entries.append(case_of(turn, turn.layout))
        except NoCase as reason:
            not_cases.append(f"{turn.number}: {reason}")
    cases = folder / "cases.yaml"
    if entries:
        with atomic_write(cases) as temporary:
            temporary.write_text(case_text(entries), encoding="utf-8")
    else:
        cases.unlink(missing_ok=True)
    kept = sum(not turn.undone for turn in turns)
    found = Summary(folder, scene, method, kept, cases if entries else None, not_cases, [_as_data(turn) for turn in turns])
    record = {name: getattr(found, name) for name in ("scene", "method", "sentences", "not_cases", "turns")}
    with atomic_write(folder / "session.json") as temporary:
        temporary.write_text(json.dumps(_plain(record), indent=2) + "\n", encoding="utf-8")
    return found


def _as_data(turn: Turn) -> dict[str, Any]:
    """A turn as it stands in ``session.json``: decisions, what happened, pictures and films in step; files by their names."""
    from srcli.stages.play.verdict import counted, right

    return {
        "number": turn.number,
        "sentence": turn.sentence,
        "decisions": [act.decision for act in turn.acts],
        "happened": [act.happened for act in turn.acts],
        "counted": counted(turn),
        "counted_by": turn.counted_by,
        "right": right(turn),
        "pictures": [act.picture.name for act in turn.acts],
        "films": [None if act.film is None else act.film.name for act in turn.acts],
        "undone": turn.undone,
    }


def _plain(value: Any) -> Any:
    """Plain data in which NaN and infinity, which JSON has not, are null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
