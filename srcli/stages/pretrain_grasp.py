"""``srcli pretrain grasp``: execute grasps in simulated piles, fit the network that rates grasps to their outcomes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.pretraining.cache import Report, catalogue_digest, claim, making, no_report
from srcli.stages.library_use import drawn

if TYPE_CHECKING:
    from srcli.parallel import Executor
    from srcli.params import Params
    from srcli.pretraining.grasp_quality.outcomes import Outcomes, PileJob
    from srcli.types import F32


@dataclass(frozen=True)
class GraspSummary:
    """What a run made.

    Attributes:
        weights: the safetensors file; its JSON sidecar lies beside it.
        sha256: of the weights.
        grasps: executed for training.
        metrics: by validation split (seen, unseen) and rating (network, shape): n, number that held, average precision, Brier
            score, calibration.
    """

    weights: Path
    sha256: str
    grasps: int
    metrics: dict[str, Any]


def run(
    params: Params,
    out: Path,
    cache: Path,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    report: Report = no_report,
) -> GraspSummary:
    """Play the piles that are not in the cache yet, fit, calibrate on piles of their own, measure on others of both splits.

    Args:
        out: ``*.safetensors`` to write; ``candidates.quality`` takes it.
        cache: folder for outcomes, one file per pile; interrupted, a run goes on from them.
        executor: None makes ``workers`` processes.
        report: called with phase, done, total and values.

    Raises:
        MismatchError: the cache was played with other settings.
        SceneError: no grasp could be executed, or all had the same outcome.
        BusyError: another run is writing to the cache.
    """
    from srcli.actions.closing import load_network
    from srcli.artifacts.core import atomic_write, sidecar_path
    from srcli.errors import SceneError
    from srcli.pretraining.grasp_quality import fitting
    from srcli.pretraining.grasp_quality.outcomes import KINDS, PileJob, load

    config, sidecar = params.pretrain.grasp, sidecar_path(out)
    with making(out, cache, "outcomes"):
        _claim(params, cache)
        # Validation first: a run that is stopped early can be measured all the same.
        jobs = {
            kind: [PileJob(kind, n) for n in range(config.piles if kind == "train" else config.valid_piles)] for kind in KINDS
        }
        _play(params, cache, [job for kind in reversed(KINDS) for job in jobs[kind]], workers, executor, report)
        outcomes = {kind: load(cache, jobs[kind]) for kind in KINDS}
        for kind, found in outcomes.items():
            if not 0 < int(found.held.sum()) < len(found):
                raise SceneError(
                    f"{int(found.held.sum())} of {len(found)} grasps of the piles '{kind}' held: that teaches nothing",
                    "play more of them: pretrain.grasp.piles, pretrain.grasp.valid_piles, pretrain.grasp.grasps",
                )
        network = fitting.fit(
            config,
            outcomes["train"],
            outcomes["calibration"],
            lambda done, values: report("train", done, config.steps, dict(values)),
        )
        network.save(out)
        load_network.cache_clear()
        stored = load_network(out)
        metrics = {
            kind.removeprefix("valid_"): {
                "network": rating(fitting.scores(stored, found), found),
                "shape": rating(found.heightmap_quality, found),
            }
            for kind, found in outcomes.items()
            if kind.startswith("valid_")
        }
        note = {
            "sha256": stored.sha256,
            "recipe": config.model_dump(mode="json"),
            "grasps": {kind: {"executed": len(found), "held": int(found.held.sum())} for kind, found in outcomes.items()},
            "metrics": metrics,
        }
        with atomic_write(sidecar) as temporary:
            temporary.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return GraspSummary(out, stored.sha256, len(outcomes["train"]), metrics)


def rating(quality: F32, outcomes: Outcomes) -> dict[str, Any]:
    """How well a quality foretells the outcomes: over all grasps, and over the sampler's candidates alone."""
    import numpy as np

    from srcli.probing.rates import average_precision, calibration

    rows = {}
    for name, chosen in (("all", np.ones(len(outcomes), dtype=bool)), ("candidates", outcomes.offered)):
        value, held = quality[chosen].astype(np.float64), outcomes.held[chosen]
        rows[name] = {
            "n": len(held),
            "held": int(held.sum()),
            "average_precision": round(average_precision(value, held), 4) if held.any() else None,
            "brier": round(float(np.mean((value - held) ** 2)), 4) if len(held) else None,
            "calibration": calibration(value, held),
        }
    return rows


def _claim(params: Params, cache: Path) -> None:
    """Record what the outcomes are played with; refuse those of other settings."""
    keys = {"seed", "grasps", "explored", "objects_min", "objects_max"}
    wanted = {
        "pretrain": {"grasp": params.pretrain.grasp.model_dump(mode="json", include=keys)},
        # Which grasps are executed does not depend on what rates them afterwards.
        "candidates": params.candidates.model_dump(mode="json", exclude={"quality"}),
        **params.model_dump(mode="json", include={"sim", "scene"}),
        "catalogue": catalogue_digest(),
        **drawn(("seen", "unseen")),
    }
    claim(cache, wanted, "the outcomes")


def _play(params: Params, cache: Path, jobs: list[PileJob], workers: int, executor: Executor | None, report: Report) -> None:
    from srcli.parallel import make_executor
    from srcli.pretraining.grasp_quality import outcomes

    left = outcomes.missing(cache, jobs)
    done, executed, held = len(jobs) - len(left), 0, 0
    report("piles", done, len(jobs), {})
    pool = executor or make_executor("processes", workers)
    for job, arrays in zip(left, pool.imap(outcomes.play, left, outcomes.start, (params,)), strict=True):
        outcomes.store(outcomes.pile_path(cache, job), arrays)
        done, executed, held = done + 1, executed + len(arrays["held"]), held + int(arrays["held"].sum())
        report("piles", done, len(jobs), {"held": held, "of": executed})
