"""``srcli objects calibrate``: how often grasps hold shapes from outside the catalogue, and how often they were expected to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from srcli.errors import ConfigError, SceneError, SrcliError

if TYPE_CHECKING:
    from srcli.stages.object_requests import Request

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Bins of quality."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Executed grasps of one range of quality.

    Attributes:
        quality: the range.
        grasps: how many there were.
        expected: their mean quality.
        held: the share that held.
        low, high: Wilson's interval of 95% of that share; grasps of one object are alike, so it is rather too narrow.
    """

    quality: str
    grasps: int
    expected: float
    held: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Tried:
    """One object: drops, grasps executed, held, mean quality of them, and whether its width was noted."""

    file: str
    drops: int
    grasps: int
    held: int
    expected: float | None
    wide: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came of all objects.

    Attributes:
        bins: by quality.
        error: mean distance of expected and held over the bins, weighed by their grasps.
        narrow, wide: (grasps, expected, held) of objects that the gripper can close around, and of those too wide for it.
        objects: one by one.
        refused: files that could not be used, with why.
    """

    bins: tuple[Bin, ...]
    error: float
    narrow: tuple[int, float, float]
    wide: tuple[int, float, float]
    objects: tuple[Tried, ...]
    refused: tuple[str, ...]


def check(folder: Path, count: int, tries: int) -> tuple[Request, ...]:
    """The mesh files of a folder; what :func:`run` would refuse before it drops anything is refused.

    Raises:
        ArtifactError: there is no such folder, or no mesh file in it.
        ConfigError: a count below 1.
    """
    from srcli.stages.object_requests import read_folder

    if count < 1 or tries < 1:
        raise ConfigError("--count and --tries are counted from 1", "give numbers above 0")
    return read_folder(folder)


def run(
    folder: Path, count: int = 20, tries: int = 5, scale: float | None = None, progress: Callable[[str], None] | None = None
) -> Calibration:
    """Drop and grasp the mesh files of a folder, evenly chosen among them, and compare outcome and quality.

    Args:
        folder: mesh files, searched recursively.
        count: objects at most.
        tries: drops of each.
        scale: metres per unit of the files.
        progress: gets a line per object.

    Raises:
        ArtifactError: there is no such folder, or no mesh file in it.
        ConfigError: a count below 1.
        SceneError: nothing could be grasped for.
    """
    from srcli.objects import build
    from srcli.objects.library import entry_of, read_record
    from srcli.stages.add_object import run as add
    from srcli.stages.try_object import HELD, attempts

    requests = check(folder, count, tries)
    step = max(len(requests) / count, 1.0)
    chosen = [requests[int(i * step)] for i in range(min(count, len(requests)))]
    pairs: list[tuple[float, bool, bool]] = []
    objects: list[Tried] = []
    refused: list[str] = []
    library = Path(tempfile.mkdtemp(prefix="srcli-calibrate-"))
    try:
        for request in chosen:
            try:
                asked = request.model_copy(update={"scale": scale, "name": "tried", "label": "tried"})
                added = add(asked, library, force=True, test=False, words_known=lambda text: ())
            except SrcliError as error:
                refused.append(f"{request.file}: {error.message}")
                continue
            model = build(entry_of(read_record(library, "tried"), library / "tried"))
            wide = any("the gripper opens" in note for note in added.notes)
            made = list(attempts(model, tries))
            own = [(a.quality, a.reason == HELD, wide) for a in made if a.quality is not None]
            pairs += own
            mean = round(sum(quality for quality, *_ in own) / len(own), 3) if own else None
            held = sum(holds for _, holds, _ in own)
            objects.append(Tried(str(Path(request.file).relative_to(folder)), tries, len(own), held, mean, wide))
            if progress is not None:
                expected = "" if mean is None else f", {mean:.2f} expected"
                progress(f"{objects[-1].file}: {held} of {len(own)} held{expected}")
    finally:
        shutil.rmtree(library, ignore_errors=True)
    if not pairs:
        raise SceneError(f"{folder}: no grasp was executed", refused[0] if refused else "choose other meshes, or give --scale")
    bins = _bins(pairs)
    apart = sum(b.grasps * abs(b.expected - b.held) for b in bins) / len(pairs)
    return Calibration(bins, round(apart, 3), _mean(pairs, wide=False), _mean(pairs, wide=True), tuple(objects), tuple(refused))


def _mean(pairs: Sequence[tuple[float, bool, bool]], wide: bool) -> tuple[int, float, float]:
    own = [(quality, held) for quality, held, is_wide in pairs if is_wide is wide]
    if not own:
        return 0, 0.0, 0.0
    return len(own), round(sum(q for q, _ in own) / len(own), 3), round(sum(h for _, h in own) / len(own), 3)


def _bins(pairs: Sequence[tuple[float, bool, bool]]) -> tuple[Bin, ...]:
    from srcli.evaluation.statistics import wilson

    made = []
    for low, high in pairwise(EDGES):
        own = [(q, held) for q, held, _ in pairs if low <= q < high or (high == EDGES[-1] and q == high)]
        if own:
            share = sum(held for _, held in own) / len(own)
            interval = wilson(sum(held for _, held in own), len(own))
            mean = sum(q for q, _ in own) / len(own)
            made.append(
                Bin(
                    f"{low:.1f} to {high:.1f}",
                    len(own),
                    round(mean, 3),
                    round(share, 3),
                    round(interval.low, 3),
                    round(interval.high, 3),
                )
            )
    return tuple(made)
