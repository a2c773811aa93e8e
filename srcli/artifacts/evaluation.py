"""Evaluation results: one table of episodes, one of attempts, and the summary as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import EVALUATION, create_artifact, open_artifact, put, read_config, to_json
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
        return EvaluationFile(
            episodes=read_table(handle[EPISODES]),
            attempts=read_table(handle[ATTEMPTS]),
            summary=json.loads(handle[SUMMARY][()].tobytes()),
            config=read_config(handle),
        )


def read_table(group: h5py.Group) -> Table:
    table: Table = {}
    for key in json.loads(group.attrs[COLUMNS]):
        values = group[key][()]
        if values.dtype.kind == "S":
            values = np.array([v.decode() for v in values], dtype=object)
        table[key] = values
    if len({len(v) for v in table.values()}) > 1:
        raise ArtifactError(f"{group.file.filename}: the columns of {group.name} differ in length", "make it anew")
    return table
