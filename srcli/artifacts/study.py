"""Results of ablations, noise sweeps and comparisons: one table of episodes, one of rows, and the summary as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from srcli.artifacts.core import SCHEMA, SCHEMAS, Schema, create_artifact, open_artifact, put, read_config
from srcli.artifacts.digests import to_json
from srcli.artifacts.evaluation import EPISODES, SUMMARY, Column, Table, read_summary, read_table, write_table
from srcli.errors import ArtifactError

ABLATION = Schema("srcli/ablation", 2, "ablation", "srcli ablate")
NOISE_SWEEP = Schema("srcli/noise-sweep", 2, "noise sweep", "srcli noise-sweep")
COMPARISON = Schema("srcli/comparison", 1, "comparison", "srcli compare")
SCHEMAS.update({schema.name: schema for schema in (ABLATION, NOISE_SWEEP, COMPARISON)})

ROWS = "rows"


@dataclass(frozen=True, slots=True)
class StudyFile:
    """What an ablation or noise-sweep file holds.

    Attributes:
        episodes: every episode of every arm and training seed, columns by name.
        rows: the numbers of the tables, columns by name; ``seed`` -1 pools the training seeds, NaN is what does not exist.
        summary: scale, arms, policies.
        config: the recorded configuration.
    """

    episodes: Table
    rows: Table
    summary: dict[str, Any]
    config: dict[str, Any]


def save_study(
    path: Path | str,
    schema: Schema,
    episodes: Mapping[str, Column],
    rows: Mapping[str, Column],
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Write a study's file atomically.

    Args:
        schema: ``ABLATION``, ``NOISE_SWEEP`` or ``COMPARISON``.
        episodes, rows: columns of numbers, booleans or text; all columns of a table have one length.

    Raises:
        DiskError: the disk is full or the place is not writable.
        ValueError: columns of one table differ in length.
    """
    with create_artifact(path, schema, config) as handle:
        put(handle, SUMMARY, np.frombuffer(to_json(dict(summary)).encode(), dtype=np.uint8))
        for key, table in ((EPISODES, episodes), (ROWS, rows)):
            write_table(handle.create_group(key), key, table)


def load_study(path: Path | str, schema: Schema) -> StudyFile:
    """Read a study's file.

    Raises:
        ArtifactError: missing, damaged, foreign, of another kind or version, or incomplete.
    """
    with open_artifact(path, schema) as handle:
        loaded = StudyFile(
            episodes=read_table(handle[EPISODES]),
            rows=read_table(handle[ROWS]),
            summary=read_summary(handle),
            config=read_config(handle),
        )
        if found := _problems(loaded):
            raise ArtifactError(f"{path}: breaks its contract: {found[0]}", f"make it anew with `{schema.command}`")
    return loaded


def _problems(loaded: StudyFile) -> list[str]:
    arms = {arm["arm"] for arm in loaded.summary.get("arms", ())}
    return [
        f"'{name}' names the arm '{arm}', which the summary does not have"
        for name, table in ((EPISODES, loaded.episodes), (ROWS, loaded.rows))
        for arm in dict.fromkeys(table.get("arm", ()))
        if arm not in arms
    ]


def study_summary(handle: h5py.File) -> dict[str, Any]:
    """What ``srcli info`` tells of an open file of either kind."""
    summary = read_summary(handle)
    return {
        "study": summary.get("study", ""),
        "episodes": len(next(iter(handle[EPISODES].values()))),
        "rows": len(next(iter(handle[ROWS].values()))),
        "arms": [arm["arm"] for arm in summary.get("arms", ())],
        "scale": summary.get("scale", {}),
    }


def study_problems(path: Path) -> list[str]:
    """What contradicts the contract of a file of either kind, one line each.

    Raises:
        ArtifactError: the file cannot be read, or breaks its contract.
    """
    with open_artifact(path) as handle:
        schema = SCHEMAS[str(handle.attrs[SCHEMA])]
    load_study(path, schema)
    return []
