"""Moments of a scene as cases of our own format, which ``srcli evaluate --cases`` plays (docs/cases.md)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from srcli.errors import SrcliError
from srcli.evaluation.open_scene import Layout, Lying
from srcli.evaluation.yamlcases import read_file_cases
from srcli.types import F64

_DIGITS = 5
_LONGEST_NAME = 48


class NoCase(Exception):
    """Why a moment of a scene is no case."""


def case_entry(
    name: str,
    sentence: str,
    layout: Layout,
    targets: Sequence[int] = (),
    references: Sequence[int] = (),
    relation: str = "",
    reference: str = "",
) -> Mapping[str, Any]:
    """One case: what lay on the table when a sentence was said, where, and what counts as right.

    Args:
        targets: slots of what is to be taken; none: the sentence only places what the gripper holds.
        references: slots of what it is to be placed at.
        relation, reference: the words for that; without a relation the sentence only takes.

    Raises:
        NoCase: what a case cannot hold, in a few words.
    """
    if not layout.plain:
        raise NoCase("objects that vary in size or colour cannot be named")
    pick = layout.pick if targets else ()
    place = layout.place if relation else ()
    if (not pick and not place) or not (targets or layout.held) or (relation and not references):
        raise NoCase("it is not known what counts as right")
    if pick and place and {item.slot for item in pick} & {item.slot for item in place}:
        raise NoCase("taking and putting in one zone is no task of a case")
    entry: dict[str, Any] = {"name": name, "instruction": sentence}
    if pick:
        entry |= {"objects": [item.name for item in pick], "targets": _positions(targets, pick)}
    if place:
        entry |= {"place_objects": [item.name for item in place], "relation": relation, "reference": reference}
        entry["references"] = _positions(references, place)
        if not pick:
            entry["held"] = layout.held
    entry["drops"] = [_row(item.pose) for item in (*pick, *place)]
    try:
        read_file_cases(case_text([entry]), name)
    except SrcliError as error:
        raise NoCase(error.message) from error
    return entry


def case_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """A case file of such cases."""
    return yaml.dump({"cases": list(entries)}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def case_name(number: int, sentence: str) -> str:
    """A name for a case, in the order of the session: "03-give-me-the-apple"."""
    words = "-".join(re.findall(r"[a-z0-9]+", sentence.lower()))
    return f"{number:02d}-{words[:_LONGEST_NAME].strip('-') or 'sentence'}"


def _positions(slots: Sequence[int], lying: Sequence[Lying]) -> list[int]:
    found = [i for i, item in enumerate(lying) if item.slot in slots]
    if not found:
        raise NoCase("what counts as right does not lie there")
    return found


def _row(pose: F64) -> list[float]:
    """x y z roll pitch yaw of a pose (7,), as in benchmark files."""
    from scipy.spatial.transform import Rotation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # upright things have more than one set of angles; any of them is right
        angles = Rotation.from_quat(pose[3:]).as_euler("xyz")
    return [round(float(value), _DIGITS) + 0.0 for value in (*pose[:3], *angles)]


class _Dumper(yaml.SafeDumper):
    """Lists of numbers on one line."""


def _listed(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    plain = all(not isinstance(item, (list, dict)) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=plain)


_Dumper.add_representer(list, _listed)
