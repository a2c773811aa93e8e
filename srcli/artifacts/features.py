"""Features: one sample per demonstration, everything that the scoring network sees and the label."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import (
    FEATURES,
    array,
    check_output,
    create_artifact,
    open_artifact,
    put,
    put_growing,
    read_config,
    read_json,
    reading,
)
from srcli.artifacts.digests import to_json
from srcli.errors import ArtifactError
from srcli.types import Bool, Candidates, Percept, Phase

DATA, MASK, ENCODER, TRAIN = "data", "mask", "encoder", "train"
# (name, dtype, trailing axes): N points, D dimensions, L tokens, K candidates
LAYOUT: dict[str, tuple[type, str]] = {
    "points": (np.float32, "N3"),
    "features": (np.float16, "ND"),
    "similarity": (np.float32, "N"),
    "point_mask": (np.bool_, "N"),
    "text": (np.float32, "D"),
    "tokens": (np.float32, "LD"),
    "token_mask": (np.bool_, "L"),
    "candidates": (np.float32, "K7"),
    "candidate_mask": (np.bool_, "K"),
    "widths": (np.float32, "K"),
    "quality": (np.float32, "K"),
    "label": (np.int64, ""),
    "valid": (np.bool_, "K"),
    "seed": (np.int64, "3"),
    "source": (np.int64, ""),
    "file": (np.int64, ""),
    "phase": (np.uint8, ""),
}
# What all views show, for methods that choose poses of their own; there where it was asked for. C cells, P points of the surface
VIEWS: dict[str, tuple[type, str]] = {
    "cell_points": (np.float32, "C3"),
    "cell_features": (np.float16, "CD"),
    "cell_mask": (np.bool_, "C"),
    "surface_points": (np.float32, "P3"),
    "surface_colors": (np.uint8, "P3"),
    "surface_mask": (np.bool_, "P"),
    "held": (np.float32, "3"),
}
# Files of an earlier version lack these: one demonstrations file, picks only.
LATER = ("file", "phase")
PHASES: tuple[Phase, ...] = ("pick", "place")
INSTRUCTION = "instruction"
CACHE_BYTES = 4 << 30
"""Of a features file, kept in memory while it is in use; a larger one is read again and again."""
BLOCK_BYTES = 64 << 20
"""Of a features file, read at once while it is checked."""


@dataclass(frozen=True, slots=True)
class FeatureSample:
    """One demonstration as the network sees it.

    Attributes:
        usable: (K,) False for candidates that had failed before; the network does not see them.
        valid: (K,) True for candidates that lie on a target, or in the region that is asked for. Supervision only.
        label: the candidate that the expert took.
        seed: the episode's entropy.
        source: the episode's index in the demonstrations file.
        file: which demonstrations file, in the order in which they were given.
        phase: of the decision.
        views: what all views show, by the names of :data:`VIEWS`, unpadded; empty where it is not wanted.
    """

    percept: Percept
    instruction: str
    candidates: Candidates
    usable: Bool
    valid: Bool
    label: int
    seed: tuple[int, ...]
    source: int
    file: int = 0
    phase: Phase = "pick"
    views: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The sample's rows, unpadded, by the names of the file."""
        cloud, text, cands = self.percept.cloud, self.percept.text, self.candidates
        return {
            "points": cloud.points,
            "features": cloud.features.astype(np.float16),
            "similarity": cloud.similarity,
            "point_mask": np.ones(len(cloud.points), np.bool_),
            "text": text.pooled,
            "tokens": text.tokens,
            "token_mask": text.mask,
            "candidates": cands.poses,
            "candidate_mask": self.usable,
            "widths": cands.widths,
            "quality": cands.quality,
            "label": np.asarray(self.label, np.int64),
            "valid": self.valid,
            "seed": np.asarray(self.seed, np.int64),
            "source": np.asarray(self.source, np.int64),
            "file": np.asarray(self.file, np.int64),
            "phase": np.asarray(PHASES.index(self.phase), np.uint8),
            **self.views,
        }


class FeatureWriter:
    """Writes samples one by one, in their order; shorter samples are padded and masked."""

    def __init__(self, handle: h5py.File, count: int) -> None:
        self._handle, self._count, self._written = handle, count, 0
        self._instructions: list[bytes] = []
        self._data = handle.create_group(DATA)

    def add(self, arrays: Mapping[str, npt.NDArray[Any]], instruction: str) -> None:
        """Append one sample.

        Args:
            arrays: unpadded rows by name, as :meth:`FeatureSample.arrays` gives them.
            instruction: the sentence.

        Raises:
            ArtifactError: more samples than announced, or a row that does not fit the contract.
        """
        if self._written >= self._count:
            raise ArtifactError("more samples than announced", "this is a mistake in the caller")
        wanted = {**LAYOUT, **VIEWS} if VIEWS.keys() <= arrays.keys() else LAYOUT
        for name, (dtype, axes) in wanted.items():
            row: npt.NDArray[Any] = np.asarray(arrays[name], dtype=dtype)
            if row.ndim != len(axes):
                raise ArtifactError(
                    f"'{name}' has {row.ndim} axes where {len(axes)} are needed", "this is a mistake in the caller"
                )
            if name not in self._data:
                put_growing(self._data, name, (self._count, *row.shape), dtype)
            dataset = self._data[name]
            for axis, size in enumerate(row.shape, start=1):
                if size > dataset.shape[axis]:
                    dataset.resize(size, axis=axis)
            dataset[(self._written, *(slice(0, size) for size in row.shape))] = row
        check_output(self._data)
        self._instructions.append(instruction.encode())
        self._written += 1

    def finish(self, splits: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Write what concerns all samples.

        Args:
            splits: indices of samples by the name of the split.

        Raises:
            ArtifactError: fewer samples than announced.
        """
        if self._written != self._count:
            raise ArtifactError(f"{self._written} samples where {self._count} were announced", "this is a mistake in the caller")
        width = max((len(i) for i in self._instructions), default=1) or 1
        put(self._data, INSTRUCTION, np.array(self._instructions, dtype=f"S{width}"))
        mask = self._handle.create_group(MASK)
        for name, indices in splits.items():
            put(mask, name, np.asarray(indices, np.int64))


@contextmanager
def create_features(
    path: Path | str, count: int, encoder: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[FeatureWriter]:
    """Write a features file atomically.

    Args:
        count: number of samples that will be added.
        encoder: identity of the encoder.
        config: the recorded configuration.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    with create_artifact(path, FEATURES, config) as handle:
        handle.attrs[ENCODER] = to_json(dict(encoder))
        yield FeatureWriter(handle, count)


class FeatureDataset:
    """A features file: its first samples are in memory, as many as the cache takes; the others are read when they are asked for.

    Samples are asked for in random order, every one as often as every other: none is worth more to a cache than another, and one
    that never changes needs no lock.

    Args:
        cache_bytes: of samples, held at most.

    Attributes:
        held: how many samples are in memory.
        instructions: the sentences.
        encoder: identity of the encoder.
        config: the recorded configuration.

    Raises:
        ArtifactError: missing, damaged, foreign, of another version, incomplete, or its arrays contradict each other.
    """

    def __init__(self, path: Path | str, cache_bytes: int = CACHE_BYTES) -> None:
        self.path = Path(path)
        opened = ExitStack()
        # The handle is kept: whoever replaces the file meanwhile changes nothing here.
        self.close = weakref.finalize(self, opened.close)
        handle = opened.enter_context(open_artifact(self.path, FEATURES))
        try:
            with reading(self.path):
                data = handle[DATA]
                self._stored: dict[str, h5py.Dataset] = {name: data[name] for name in LAYOUT if name in data}
                self._views: dict[str, h5py.Dataset] = {name: data[name] for name in VIEWS if name in data}
                self.instructions: tuple[str, ...] = tuple(i.decode() for i in array(data, INSTRUCTION, "S", 1))
                self.encoder: dict[str, Any] = read_json(handle, ENCODER)
                self.config: dict[str, Any] = read_config(handle)
                self._splits: dict[str, npt.NDArray[np.int64]] = {
                    name: array(handle[MASK], name, "i", 1) for name in handle[MASK]
                }
                self._hold(cache_bytes)
        except BaseException:
            self.close()
            raise
        if self.held == len(self) and not self._views:
            self.close()

    def __len__(self) -> int:
        return len(self.instructions)

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All samples in memory, whatever their size, by name, first axis the sample.

        points (n, N, 3) f32 metres in the world frame, features (n, N, D) f16, similarity (n, N) f32, point_mask (n, N), text
        (n, D) f32, tokens (n, L, D) f32, token_mask (n, L), candidates (n, K, 7) f32, candidate_mask (n, K), widths (n, K) f32
        metres, quality (n, K) f32, label (n,) i64, valid (n, K), seed (n, 3) i64, source, file (n,) i64, phase (n,) u8 index into
        ``PHASES``.
        """
        return self._arrays if self.held == len(self) else self._rows(0, len(self))

    def column(self, name: str) -> npt.NDArray[Any]:
        """One array of all samples, as in :attr:`arrays`.

        Raises:
            ArtifactError: the file turns out to be damaged.
        """
        return self._arrays[name] if self.held == len(self) else self._rows(0, len(self), (name,))[name]

    @property
    def has_views(self) -> bool:
        """Whether it holds what all views show."""
        return len(self._views) == len(VIEWS)

    def views(self) -> dict[str, npt.NDArray[Any]]:
        """What all views show, all samples in memory, by name, first axis the sample; padded, with masks.

        cell_points (n, C, 3) f32 metres in the world frame, cell_features (n, C, D) f16 of unit length, cell_mask (n, C),
        surface_points (n, P, 3) f32, surface_colors (n, P, 3) u8, surface_mask (n, P), held (n, 3) f32 radius, half width and
        height of what is to be placed, metres, zeros for a pick.

        Raises:
            ArtifactError: it was made without them, or the file turns out to be damaged.
        """
        if not self.has_views:
            raise ArtifactError(
                f"{self.path}: holds no whole views", "make it anew with `srcli featurize -S featurize.views=true`"
            )
        with reading(self.path):
            found: dict[str, npt.NDArray[Any]] = {name: dataset[()] for name, dataset in self._views.items()}
        self._raise(check_views(found, len(self)))
        return found

    def check_views(self) -> None:
        """See that the whole views, where there are any, keep the contract, without holding them all: block by block.

        Raises:
            ArtifactError: they do not, or the file turns out to be damaged.
        """
        count, shapes = len(self), {name: dataset.shape for name, dataset in self._views.items()}
        self._raise([f"'{name}' has shape {shape}" for name, shape in shapes.items() if shape[:1] != (count,)])
        each = sum(dataset.dtype.itemsize * int(np.prod(dataset.shape[1:])) for dataset in self._views.values())
        block = max(1, BLOCK_BYTES // max(1, each))
        for start in range(0, count if self._views else 0, block):
            stop = min(count, start + block)
            with reading(self.path):
                rows = {name: dataset[start:stop] for name, dataset in self._views.items()}
            self._raise(check_views(rows, stop - start))

    def sample(self, index: int, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Arrays of one sample, padded as in :attr:`arrays`; not to be changed. Threads may ask at once.

        Raises:
            ArtifactError: the file turns out to be damaged.
        """
        if index < self.held:
            return {name: self._arrays[name][index] for name in names}
        return {name: rows[0] for name, rows in self._rows(index, index + 1, names).items()}

    def split(self, name: str) -> npt.NDArray[np.int64]:
        """Indices of the samples of a split (``train``, ``valid``), ascending.

        Raises:
            ArtifactError: there is no such split.
        """
        if name not in self._splits:
            raise ArtifactError(f"{self.path}: has no split '{name}'", f"it has: {', '.join(sorted(self._splits))}")
        return self._splits[name]

    def _rows(self, start: int, stop: int, names: Sequence[str] = tuple(LAYOUT)) -> dict[str, npt.NDArray[Any]]:
        """Samples ``start`` to ``stop`` from the file. What :data:`LATER` names may be missing, and is zero then."""
        rows: dict[str, npt.NDArray[Any]] = {}
        with reading(self.path):
            for name in names:
                if name in self._stored:
                    rows[name] = self._stored[name][start:stop]
                elif name in LATER:
                    rows[name] = np.zeros(stop - start, LAYOUT[name][0])
        return rows

    def _hold(self, cache_bytes: int) -> None:
        """Read what the cache takes, and see that the whole file keeps its contract."""
        count = len(self)
        shapes = {name: dataset.shape for name, dataset in self._stored.items()}
        problems = [f"'{name}' has shape {shape}" for name, shape in shapes.items() if shape[:1] != (count,)]
        problems += [] if TRAIN in self._splits or not count else [f"has no split '{TRAIN}'"]
        if self._views and not self.has_views:
            problems.append(f"holds only a part of the whole views: no '{min(VIEWS.keys() - self._views.keys())}'")
        if not problems:
            each = sum(d.dtype.itemsize * int(np.prod(d.shape[1:])) for d in self._stored.values())
            self.held = count if each * count <= cache_bytes else cache_bytes // each
            self._arrays = self._rows(0, self.held)
            problems = check_arrays(self._arrays, self._splits, count)
            block = max(1, min(cache_bytes, BLOCK_BYTES) // max(1, each))
            for start in range(self.held, count, block):
                problems = problems or check_arrays(self._rows(start, min(count, start + block)), {}, count)
        self._raise(problems)

    def _raise(self, problems: Sequence[str]) -> None:
        if problems:
            raise ArtifactError(f"{self.path}: breaks its contract: {problems[0]}", "make it anew with `srcli featurize`")


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]], splits: Mapping[str, npt.NDArray[np.int64]], total: int) -> list[str]:
    """What contradicts the contract, one line each.

    Args:
        arrays: of some samples.
        splits: indices by name, into ``total`` samples.
    """
    if missing := sorted(set(LAYOUT) - set(arrays)):
        return [f"no '{name}'" for name in missing]
    problems: list[str] = []
    sizes: dict[str, int] = {"3": 3, "7": 7}
    count = len(arrays["label"])
    for name, (dtype, axes) in LAYOUT.items():
        value = arrays[name]
        if value.dtype != np.dtype(dtype):
            problems.append(f"'{name}' is {value.dtype}, not {np.dtype(dtype)}")
        if value.ndim != 1 + len(axes) or len(value) != count:
            problems.append(f"'{name}' has shape {value.shape}")
            continue
        for axis, size in zip(axes, value.shape[1:], strict=True):
            if sizes.setdefault(axis, size) != size:
                problems.append(f"'{name}' has {size} where other arrays have {sizes[axis]}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            problems.append(f"'{name}' holds a value that is not finite")
    if not problems and count:
        rows, label = np.arange(count), arrays["label"]
        inside = (label >= 0) & (label < arrays["candidates"].shape[1])
        if not inside.all() or not arrays["candidate_mask"][rows, label].all():
            problems.append("a label names no candidate")
        elif (arrays["valid"] & ~arrays["candidate_mask"]).any():
            problems.append("'valid' marks a padded candidate")
        if arrays["phase"].max() >= len(PHASES):
            problems.append("'phase' names no phase")
    problems += [f"split '{n}' names a sample twice" for n, i in splits.items() if len(np.unique(i)) != len(i)]
    problems += [
        f"split '{n}' points outside the samples" for n, i in splits.items() if len(i) and (i.min() < 0 or i.max() >= total)
    ]
    return problems


def check_views(arrays: Mapping[str, npt.NDArray[Any]], total: int) -> list[str]:
    """What contradicts the contract of whole views, one line each."""
    problems: list[str] = []
    sizes: dict[str, int] = {"3": 3}
    for name, (dtype, axes) in VIEWS.items():
        value = arrays[name]
        if value.dtype != np.dtype(dtype):
            problems.append(f"'{name}' is {value.dtype}, not {np.dtype(dtype)}")
        if value.ndim != 1 + len(axes) or len(value) != total:
            problems.append(f"'{name}' has shape {value.shape}")
            continue
        for axis, size in zip(axes, value.shape[1:], strict=True):
            if sizes.setdefault(axis, size) != size:
                problems.append(f"'{name}' has {size} where other arrays have {sizes[axis]}")
        # Sample by sample: the test of a whole array would hold another one of its size.
        if value.dtype.kind == "f" and not all(np.isfinite(each).all() for each in value):
            problems.append(f"'{name}' holds a value that is not finite")
    for mask in ("cell_mask", "surface_mask"):
        if not problems and not arrays[mask].any(axis=1).all():
            problems.append(f"'{mask}' leaves a sample empty")
    return problems


def write_part(path: Path, samples: Sequence[FeatureSample], config: Mapping[str, Any]) -> None:
    """Write the samples of one observation as a file of their own.

    Raises:
        DiskError: the disk is full or the place not writable.
    """
    with create_artifact(path, FEATURES, config) as handle:
        data = handle.create_group(DATA)
        for number, sample in enumerate(samples):
            group = data.create_group(f"{number:04d}")
            group.attrs[INSTRUCTION] = sample.instruction
            for name, value in sample.arrays().items():
                group.create_dataset(name, data=value, track_times=False)


def read_part(path: Path) -> list[tuple[dict[str, npt.NDArray[Any]], str]]:
    """Arrays and sentence of each sample of a part file.

    Raises:
        ArtifactError: the part is missing or damaged.
    """
    with open_artifact(path, FEATURES, quiet=True) as handle:
        groups = [handle[DATA][name] for name in sorted(handle[DATA])]
        return [({name: group[name][()] for name in group if name in LAYOUT or name in VIEWS}, _said(group)) for group in groups]


def part_size(path: Path) -> int:
    """How many samples a part file has.

    Raises:
        ArtifactError: the part is missing or damaged.
    """
    with open_artifact(path, FEATURES, quiet=True) as handle:
        return len(handle[DATA])


def _said(group: h5py.Group) -> str:
    return str(group.attrs[INSTRUCTION])
