"""A features file of made-up samples, and an executor that makes an episode of its seed and its policy alone."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srcli.artifacts.features import LAYOUT, create_features
from srcli.errors import SrcliError
from srcli.evaluation.worker import Job, Setup
from srcli.params import Params
from srcli.perception.encoders.interface import DenseFeatures, EncoderIdentity

ENCODER = {"name": "made-up", "dim": 8}
TINY = {"updates": 4, "batch_size": 2, "validate_every": 2, "checkpoint_every": 2, "points": 0}


class MadeUp:
    """As much of an encoder as a comparison asks for."""

    dim = 8
    vocabulary = None
    identity = EncoderIdentity("made-up", "0" * 64, 8, "conv", "none", "fp32", 3)

    def dense(self, rgb: Any) -> DenseFeatures:
        raise AssertionError("nothing is seen here")


def write_features(
    path: Path, encoder: dict[str, Any] = ENCODER, cloud: dict[str, Any] | None = None, config: dict[str, Any] | None = None
) -> Path:
    rng = np.random.default_rng(0)
    n, k, dim = 6, 4, 8
    poses = np.concatenate([rng.uniform(0.3, 0.6, (k, 3)), np.tile([0.0, 0, 0, 1], (k, 1))], 1)
    rows: dict[str, Any] = {
        "points": rng.uniform(0.3, 0.6, (n, 3)),
        "features": rng.normal(size=(n, dim)),
        "similarity": rng.normal(size=n),
        "point_mask": np.ones(n),
        "text": rng.normal(size=dim),
        "tokens": rng.normal(size=(3, dim)),
        "token_mask": np.ones(3),
        "candidates": poses,
        "candidate_mask": np.ones(k),
        "widths": np.full(k, 0.05),
        "quality": np.full(k, 0.5),
        "valid": np.arange(k) == 1,
        "label": np.asarray(1),
        "seed": np.array([0, 1, 2]),
        "source": np.asarray(0),
    }
    rows = {name: rows.get(name, np.zeros((2,) * len(axes))) for name, (_, axes) in LAYOUT.items()}
    with create_features(path, 5, encoder, {"cloud": cloud or {}, **(config or {})}) as writer:
        for _ in range(5):
            writer.add(rows, "give me the thing")
        writer.finish({"train": np.arange(3), "valid": np.arange(3, 5)})
    return path


def tiny(**sections: Any) -> Params:
    """Parameters of a study that is over in a moment."""
    data: dict[str, Any] = {
        "seed": 5,
        "methods": {"sr": {"network": {"heads": 2}, "train": TINY}},
        "evaluate": {"bootstrap": 100, "attempts": 4, "initialisations": 3},
        "ablate": {
            "tasks": ["pick"],
            "episodes": 4,
            "seeds": [0, 1],
            "methods": ["base_plus", "sr_a_plus", "sr_plus"],
            "study": {"episodes": 4},
            "attribution": {"episodes": 4, "tasks": ["pick"], "updates": 4},
        },
        "noise": {"episodes": 4, "sigma": [0.1, 0.3]},
    }
    for name, values in sections.items():
        data[name] = {**data.get(name, {}), **values}
    return Params.model_validate_json(json.dumps(data))


def without_pictures(patch: pytest.MonkeyPatch) -> None:
    """Pictures of training and evaluation are not looked at here, and take longer than all the rest."""
    patch.setattr("srcli.stages.train.draw_curves", lambda path, runs: path.write_bytes(b"curves"))
    for name in ("draw_failures", "draw_success"):
        patch.setattr(f"srcli.evaluation.figures.{name}", lambda results, path, *rest: path)


class FakeExecutor:
    """Plays a job as a function of its episode and its method's name; may break down after a number of jobs."""

    workers = 1

    def __init__(self, breaks_after: int = 10**9) -> None:
        self.left = breaks_after
        self.setups: list[Setup] = []
        self.played: list[tuple[str, str]] = []

    def imap(
        self,
        function: Callable[[Any], Any],
        jobs: Iterable[Any],
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Iterator[Any]:
        setup: Setup = initargs[0]
        self.setups.append(setup)
        for job in jobs:
            if self.left == 0:
                raise SrcliError("a worker process died")
            self.left -= 1
            assert job.methods, "no calibration in a study"
            yield [self.play(job, setup.methods[method].name) for method in job.methods]

    def play(self, job: Job, name: str) -> dict[str, Any]:
        episode = job.episode
        self.played.append((name, episode.key))
        # SR+ always wins, the others by chance; noise makes all of them miss now and then.
        wins = name.startswith(("sr_plus-seed", "sr_plus-0")) or zlib.crc32(f"{name}{episode.key}".encode()) % 2 == 0
        attempt = {"slot": 1, "object": "apple", "candidates": 9, "excluded": 0, "index": 3, "steps": 300, "similarity": None}
        miss, hit = {**attempt, "reason": "wrong_object"}, {**attempt, "reason": "success"}
        return {
            "key": episode.key,
            "seed": list(episode.seed),
            "split": episode.split,
            "cluster": episode.cluster,
            "case": "",
            "wording": episode.wording,
            "instruction": "give me the apple",
            "keyword_kind": "label",
            "success": wins,
            "ended": "",
            "attempts": [miss, hit] if wins else [miss] * 4,
        }
