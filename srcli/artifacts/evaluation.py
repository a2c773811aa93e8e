"""Evaluation results: one table of episodes, one of attempts, and the summary as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import EVALUATION, array, create_artifact, open_artifact, parse_json, put, read_config
from srcli.artifacts.digests import to_json
from srcli.errors import ArtifactError

EPISODES, ATTEMPTS, SUMMARY, COLUMNS = "episodes", "attempts", "summary", "columns"
Column = Sequence[Any] | npt.NDArray[Any]
Table = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class EvaluationFile:
    """What an evaluation file holds.

    Attributes:
        episodes, attempts: columns by name, all of one length; text columns are arrays of ``str`` objects.
        summary: what the tables and figures show.
        config: the recorded configuration.
    """

    episodes: Table
    attempts: Table
    summary: dict[str, Any]
    config: dict[str, Any]


def save_evaluation(
    path: Path | str,
    episodes: Mapping[str, Column],
    attempts: Mapping[str, Column],
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Write an evaluation file atomically.

    Args:
        episodes, attempts: columns of numbers, booleans or text; all columns of a table have one length.

    Raises:
        DiskError: the disk is full or the place is not writable.
        ValueError: columns of one table differ in length.
    """
    with create_artifact(path, EVALUATION, config) as handle:
        # A summary may exceed what an attribute can hold.
        put(handle, SUMMARY, np.frombuffer(to_json(dict(summary)).encode(), dtype=np.uint8))
        for key, table in ((EPISODES, episodes), (ATTEMPTS, attempts)):
            write_table(handle.create_group(key), key, table)


def write_table(group: h5py.Group, name: str, table: Mapping[str, Column]) -> None:
    lengths = {len(column) for column in table.values()}
    if len(lengths) > 1:
        raise ValueError(f"the columns of '{name}' differ in length")
    group.attrs[COLUMNS] = to_json(list(table))
    for key, column in table.items():
        values = np.asarray(column)
        if values.dtype.kind in "UO":
            encoded = [str(v).encode() for v in column]
            # Fixed-length bytes keep the file reproducible and small.
            width = max((len(v) for v in encoded), default=1) or 1
            values = np.array(encoded, dtype=f"S{width}")
        put(group, key, values)


def load_evaluation(path: Path | str) -> EvaluationFile:
    """Read an evaluation file.

    Raises:
        ArtifactError: missing, damaged, foreign, of another version or incomplete.
    """
    with open_artifact(path, EVALUATION) as handle:
        loaded = EvaluationFile(
            episodes=read_table(handle[EPISODES]),
            attempts=read_table(handle[ATTEMPTS]),
            summary=read_summary(handle),
            config=read_config(handle),
        )
        if found := _problems(loaded):
            raise ArtifactError(f"{path}: breaks its contract: {found[0]}", "make it anew with `srcli evaluate`")
    return loaded


def _problems(loaded: EvaluationFile) -> list[str]:
    episodes, attempts = loaded.episodes, loaded.attempts
    found: list[str] = []
    count = len(next(iter(episodes.values()), ()))
    named = attempts.get("episode", np.empty(0))
    if len(named) and (named.dtype.kind not in "iu" or named.min() < 0 or named.max() >= count):
        found.append("an attempt names no episode")
    rows = loaded.summary.get("rows", [])
    if not isinstance(rows, list) or not isinstance(loaded.summary.get("methods", {}), dict):
        return [*found, "its summary has no rows"]
    if {"method", "split", "success"} <= set(episodes):
        for row in rows:
            found += _contradiction(row, episodes)
    return found


def _contradiction(row: Any, episodes: Table) -> list[str]:
    """Whether a row of the summary counts other episodes than there are."""
    if not isinstance(row, dict) or not all(key in row for key in ("method", "split", "successes", "episodes")):
        return ["a row of its summary names no method, split or counts"]
    own = (episodes["method"] == row["method"]) & (episodes["split"] == row["split"])
    if "task" in episodes and "task" in row:
        own &= episodes["task"] == row["task"]
    counted = (int(own.sum()), int(np.asarray(episodes["success"][own], dtype=bool).sum()))
    if not counted[0] or counted != (row["episodes"], row["successes"]):
        return [f"the row of '{str(row['method'])[:60]}' contradicts its episodes"]
    return []


def read_summary(handle: h5py.File) -> dict[str, Any]:
    """The summary of a file of results.

    Raises:
        KeyError, ValueError: it has none.
    """
    summary = parse_json(array(handle, SUMMARY, "u", 1).tobytes())
    if not isinstance(summary, dict):
        raise ValueError("the summary is no mapping")
    return summary


def read_table(group: h5py.Group) -> Table:
    table: Table = {}
    columns = parse_json(str(group.attrs[COLUMNS]))
    if not isinstance(columns, list) or sorted(map(str, columns)) != sorted(group):
        raise ValueError(f"the columns of {group.name} are not those that it names")
    for key in columns:
        values = array(group, key, "biufS", 1)
        if values.dtype.kind == "S":
            values = np.array([v.decode() for v in values], dtype=object)
        table[key] = values
    if len({len(v) for v in table.values()}) > 1:
        raise ArtifactError(f"{group.file.filename}: the columns of {group.name} differ in length", "make it anew")
    return table
