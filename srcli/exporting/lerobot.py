"""LeRobot's dataset format v3.0, written with pyarrow alone. One decision is one frame.

Files, as lerobot 0.4 reads them: ``meta/info.json``, ``meta/stats.json``, ``meta/tasks.parquet``,
``meta/episodes/chunk-000/file-000.parquet``, ``data/chunk-000/file-NNN.parquet``; beside them ``meta/srcli.json`` with cameras
and columns. Images are PNG inside the parquet files. Source of the format: huggingface/lerobot, wheels 0.4.4 and 0.6.1.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srcli.artifacts.demos import DemoDataset, DemoEpisode, DemoStep
from srcli.errors import SceneError
from srcli.evaluation.robot_state import STATE, robot_state
from srcli.exporting.folders import library, whole_folder
from srcli.exporting.lerobot_stats import histogram, image_stats, vector_stats
from srcli.parallel import Progress
from srcli.types import F32, I64, U8

VERSION = "v3.0"
ACTION = ("x", "y", "z", "qx", "qy", "qz", "qw", "opening")
"""Columns of an action: fingertips or release position in metres, quaternion, opening before closing in metres."""
FILE_BYTES = 100 * 1024 * 1024
"""Images of a data file; the format's own limit."""
_CHUNK = 1000
_FPS = 1
_PNG_LEVEL = 1
_IMAGES = "observation.images."
_NUMBERS = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}


@dataclass(frozen=True, slots=True)
class Written:
    """What an export came to.

    Attributes:
        tasks: different sentences.
    """

    episodes: int
    frames: int
    tasks: int


def export_lerobot(
    demos: DemoDataset,
    out: Path,
    cameras: Sequence[str],
    attempts: str = "demonstrations",
    force: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Write a dataset folder.

    Args:
        demos: where it comes from.
        cameras: names of the views, in their order.
        attempts: ``demonstrations``: the decisions that a learner may learn from, of episodes that reached their goal; ``all``:
            every attempt that was made, with ``next.reward`` and ``next.success``.
        force: replace what stands there.

    Raises:
        MissingAssetError: pyarrow is not installed.
        SceneError: there is no frame to write.
        ConfigError: something stands there already.
        DiskError: the disk is full or the place is not writable.
    """
    library("pyarrow", "lerobot", "LeRobot's format")
    chosen = list(_episodes(demos, attempts))
    if not chosen:
        raise SceneError(f"{demos.path}: holds no demonstration to export", "collect more, or export every attempt with --all")
    with whole_folder(out, force) as folder:
        writer = _Writer(folder, tuple(cameras))
        for number, (index, steps) in enumerate(chosen):
            episode = demos.episode(index)
            writer.add(episode, [episode.steps[step] for step in steps])
            if progress is not None:
                progress(number + 1, len(chosen), f"{writer.frames} frames")
        writer.finish(demos.config)
    return Written(len(chosen), writer.frames, len(writer.tasks))


def _episodes(demos: DemoDataset, attempts: str) -> Iterator[tuple[int, list[int]]]:
    """(episode, its steps) in order."""
    if attempts == "all":
        for index, count in enumerate(demos.lengths()):
            if count:
                yield index, list(range(count))
        return
    for index in demos.demonstrations.tolist():
        yield index, [step for episode, step in demos.decisions if episode == index]


class _Writer:
    def __init__(self, folder: Path, cameras: tuple[str, ...]) -> None:
        self.folder, self.cameras = folder, cameras
        self.tasks: dict[str, int] = {}
        self.frames = 0
        self._rows: list[dict[str, Any]] = []
        self._vectors: dict[str, list[F32]] = {}
        self._histograms: dict[str, I64] = {}
        self._parquet: Any = None
        self._file = self._bytes = 0
        self._size: tuple[int, int] = (0, 0)
        self._calibration: list[dict[str, Any]] = []

    def add(self, episode: DemoEpisode, steps: list[DemoStep]) -> None:
        """Write the frames of one episode as one row group."""
        import pyarrow
        import pyarrow.parquet

        seen = steps[0].observation
        if not self._calibration:
            self._size = (seen.depth.shape[1], seen.depth.shape[2])
            self._calibration = [
                {"name": name, "K": K.tolist(), "T_world_cam": pose.tolist()}
                for name, K, pose in zip(self.cameras, seen.K, seen.T_world_cam, strict=True)
            ]
        count = len(steps)
        task = self.tasks.setdefault(episode.spec.instruction, len(self.tasks))
        last = np.arange(count) == count - 1
        success = np.array([step.outcome.success for step in steps])
        numbers: dict[str, Any] = {
            "observation.state": np.stack([robot_state(step.held) for step in steps]),
            "action": np.stack([_action(step) for step in steps]),
            "next.reward": success.astype(np.float32),
            "next.done": last,
            "next.success": last & episode.success,
            "timestamp": (np.arange(count) / _FPS).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, len(self._rows)),
            "index": np.arange(self.frames, self.frames + count),
            "task_index": np.full(count, task),
        }
        images = {
            f"{_IMAGES}{name}": [np.ascontiguousarray(step.observation.rgb[view]) for step in steps]
            for view, name in enumerate(self.cameras)
        }
        columns: dict[str, Any] = {}
        for key, pictures in images.items():
            column = [{"bytes": _png(picture), "path": None} for picture in pictures]
            columns[key] = pyarrow.array(column, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))
        for key, values in numbers.items():
            columns[key] = _column(pyarrow, values)
        size = sum(len(cell["bytes"].as_py()) for key in images for cell in columns[key])
        if self._parquet is not None and self._bytes + size > FILE_BYTES:
            self._parquet.close()
            self._parquet, self._file, self._bytes = None, self._file + 1, 0
        table = pyarrow.table(columns)
        if self._parquet is None:
            path = self.folder / _place("data", self._file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._parquet = pyarrow.parquet.ParquetWriter(path, table.schema, compression="snappy", use_dictionary=False)
        self._parquet.write_table(table)
        self._bytes += size
        row = {
            "episode_index": len(self._rows),
            "tasks": [episode.spec.instruction],
            "length": count,
            "data/chunk_index": self._file // _CHUNK,
            "data/file_index": self._file % _CHUNK,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + count,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        self._rows.append(row | self._stats(images, numbers))
        self.frames += count

    def _stats(self, images: dict[str, list[U8]], numbers: dict[str, Any]) -> dict[str, Any]:
        """The episode's statistics by the names of their columns; those of all are summed up."""
        found: dict[str, Any] = {}
        for key, pictures in images.items():
            counts = sum((histogram(picture) for picture in pictures), np.zeros((3, 256), dtype=np.int64))
            self._histograms[key] = self._histograms.get(key, np.zeros_like(counts)) + counts
            found[key] = image_stats(counts, len(pictures))
        for key, values in numbers.items():
            rows = values.reshape(len(values), -1)
            self._vectors.setdefault(key, []).append(rows)
            found[key] = vector_stats(rows)
        return {f"stats/{key}/{name}": value for key, stats in found.items() for name, value in stats.items()}

    def finish(self, config: dict[str, Any]) -> None:
        """Write what stands beside the frames."""
        import pyarrow
        import pyarrow.parquet

        self._parquet.close()
        meta = self.folder / "meta"
        path = self.folder / _place("meta/episodes", 0)
        path.parent.mkdir(parents=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(self._rows), path, compression="snappy")
        # Readers take the sentence from the index of the pandas frame; without this note it would be a plain column.
        kinds = (("task_index", "int64", "int64"), ("task", "unicode", "object"))
        note = {
            "index_columns": ["task"],
            "column_indexes": [],
            "columns": [
                {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}
                for name, kind, stored in kinds
            ],
            "pandas_version": "2.0.0",
        }
        table = pyarrow.table({"task_index": list(self.tasks.values()), "task": list(self.tasks)})
        pyarrow.parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(note)}), meta / "tasks.parquet")
        stats = {key: image_stats(counts, self.frames) for key, counts in self._histograms.items()}
        stats |= {key: vector_stats(np.concatenate(rows)) for key, rows in self._vectors.items()}
        _write_json(meta / "stats.json", stats)
        _write_json(meta / "info.json", self._info())
        about = {"cameras": self._calibration, "state": list(STATE), "action": list(ACTION), "config": config}
        _write_json(meta / "srcli.json", about)

    def _info(self) -> dict[str, Any]:
        height, width = self._size
        features: dict[str, Any] = {
            f"{_IMAGES}{name}": {"dtype": "image", "shape": [height, width, 3], "names": ["height", "width", "channels"]}
            for name in self.cameras
        }
        features["observation.state"] = {"dtype": "float32", "shape": [len(STATE)], "names": list(STATE)}
        features["action"] = {"dtype": "float32", "shape": [len(ACTION)], "names": list(ACTION)}
        features["next.reward"] = {"dtype": "float32", "shape": [1], "names": None}
        for key in ("next.done", "next.success"):
            features[key] = {"dtype": "bool", "shape": [1], "names": None}
        features |= {key: {"dtype": kind, "shape": [1], "names": None} for key, kind in _NUMBERS.items()}
        return {
            "codebase_version": VERSION,
            "robot_type": "ur5",
            "total_episodes": len(self._rows),
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": _CHUNK,
            "data_files_size_in_mb": FILE_BYTES // (1024 * 1024),
            "video_files_size_in_mb": 200,
            "fps": _FPS,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": None,
            "features": features,
        }


def _action(step: DemoStep) -> F32:
    if step.action is None:
        return np.zeros(len(ACTION), dtype=np.float32)
    return np.append(step.action.pose, step.action.width).astype(np.float32)


def _column(pyarrow: Any, values: Any) -> Any:
    if values.ndim == 1:
        return pyarrow.array(values)
    flat = pyarrow.array(values.reshape(-1))
    return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _png(image: U8) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=_PNG_LEVEL)
    return out.getvalue()


def _place(folder: str, number: int) -> str:
    return f"{folder}/chunk-{number // _CHUNK:03d}/file-{number % _CHUNK:03d}.parquet"


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
