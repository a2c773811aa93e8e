"""What both formats of case files share: a case with its task, and how their words and angles are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import cos, sin

from srcli.language.keywords import could_mean, keyword_table
from srcli.language.templates import KINDS
from srcli.objects import catalogue
from srcli.tasks.base import Case


@dataclass(frozen=True, slots=True)
class FileCase:
    """A case that was read from a file, and the task that it is for."""

    task: str
    case: Case


def quaternion(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Unit quaternion xyzw (w >= 0) of fixed-axis Euler angles in radians, the simulator's convention."""
    sr, sp, sy = (sin(angle / 2) for angle in (roll, pitch, yaw))
    cr, cp, cy = (cos(angle / 2) for angle in (roll, pitch, yaw))
    x, y = sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy
    z, w = cr * cp * sy - sr * sp * cy, cr * cp * cy + sr * sp * sy
    return (-x, -y, -z, -w) if w < 0 else (x, y, z, w)


def referred(label: str, names: Sequence[str]) -> tuple[int, ...]:
    """Positions of the objects that a reference label stands for, as A2 recomputes them: by label or kind.

    Where none carries it: by any other keyword, by a synonym, by the identifier ("suger" for suger_1), by anything a person could
    mean with it, and at last by the closest spelling.
    """
    entries = [catalogue()[name] for name in names]
    plain = [re.sub(r"_\d+$", "", entry.name).replace("_", " ") for entry in entries]
    rules: tuple[Callable[[int], bool], ...] = (
        lambda i: label == entries[i].label or label in entries[i].general,
        lambda i: label in entries[i].attributes or label in entries[i].functions,
        lambda i: label in entries[i].synonyms,
        lambda i: label == plain[i],
        lambda i: could_mean(entries[i].name, label),
    )
    for rule in rules:
        found = tuple(i for i in range(len(names)) if rule(i))
        if found:
            return found
    close = get_close_matches(label, [entry.label for entry in entries], n=1, cutoff=0.8)
    return tuple(i for i, entry in enumerate(entries) if close and entry.label == close[0])


def keyword_of(sentence: str, targets: Sequence[str]) -> tuple[str, str]:
    """The keyword in the sentence that most targets carry, the longest of these; else the label of the first target."""
    said = f" {re.sub(r'[^a-z0-9]+', ' ', sentence.lower())} "
    best, keyword = (0, 0), (catalogue()[targets[0]].label, "label")
    for kind in KINDS:
        for word, carriers in keyword_table(kind, targets).items():
            if f" {word} " in said and (len(carriers), len(word)) > best:
                best, keyword = (len(carriers), len(word)), (word, kind)
    return keyword


def split_of(names: Sequence[str]) -> str:
    """Unseen when none of the objects is a seen one of the catalogue."""
    entries = [catalogue()[name] for name in names]
    return "seen" if any(catalogue()[getattr(e, "namesake", "") or e.name].split == "seen" for e in entries) else "unseen"
