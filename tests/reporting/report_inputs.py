"""Small result files with known numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from srcli.artifacts.evaluation import save_evaluation
from srcli.artifacts.policy import save_policy
from srcli.artifacts.study import ABLATION, NOISE_SWEEP, save_study
from srcli.evaluation.statistics import Result, summarise_all
from srcli.evaluation.tables import to_json
from srcli.studies.tables import Episode, row_columns, study_rows


def result(method: str, task: str, split: str, number: int, success: bool, attempts: int = 1) -> Result:
    reasons = ("wrong_object",) * (attempts - 1) + (("success",) if success else ("nothing_held",))
    return Result(method, split, f"{task}-{split}-{number}", f"c{number}", success, attempts, reasons=reasons, task=task)


def evaluation(path: Path, wins: dict[tuple[str, str, str], int], n: int = 20, suite: str = "development") -> Path:
    """An evaluation in which (method, task, split) wins its first k of n episodes at the first attempt and fails in two."""
    results = [
        result(method, task, split, i, i < k, 1 if i < k else 2) for (method, task, split), k in wins.items() for i in range(n)
    ]
    rows = []
    for task in ("pick", "place"):
        rows += summarise_all([r for r in results if r.task == task], "sr", privileged=("expert",), resamples=100)
    names = ("method", "task", "split", "key", "success", "attempts")
    episodes: dict[str, list[Any]] = {name: [getattr(r, name) for r in results] for name in names}
    episodes |= {"ended": ["" for _ in results], "case": ["" for _ in results]}
    attempts = {
        "episode": [i for i, r in enumerate(results) for _ in r.reasons],
        "reason": [reason for r in results for reason in r.reasons],
        # Of two failures the second had the right object between its fingers only in every other episode.
        "aimed_right": [int(reason != "wrong_object") * (i + 1) % 2 for i, r in enumerate(results) for reason in r.reasons],
    }
    summary = {
        "suite": suite,
        "seed": 0,
        "runs": 1,
        "attempts": 8,
        "reference": "sr",
        "methods": {m: {"privileged": m == "expert", "policy": None} for m in {r.method for r in results}},
        "rows": to_json(rows),
        "curve": [],
        "not_set_up": [{"task": "pick", "split": "seen", "case": "case-7", "key": "k", "methods": ["sr"]}],
    }
    save_evaluation(path, episodes, attempts, summary, {"candidates": {"count": 80}, "evaluate": {"wording": "train"}})
    return path


def ablation(path: Path, wins: dict[str, int], n: int = 40) -> Path:
    episodes = [Episode(arm, 0, "pick", result(arm, "pick", "unseen", i, i < k)) for arm, k in wins.items() for i in range(n)]
    rows = study_rows(episodes, dict.fromkeys(wins, "sr"), resamples=100)
    arms = [{"arm": arm, "title": arm.upper(), "reference": "sr"} for arm in wins]
    summary = {"arms": arms, "scale": {"suite": "wide", "episodes": n, "seeds": [0]}, "training_updates": 600, "notes": []}
    save_study(path, ABLATION, {"arm": [e.arm for e in episodes]}, row_columns(rows), summary, {})
    return path


def sweep(path: Path, wins: dict[tuple[str, float], int], n: int = 30) -> Path:
    episodes = [
        Episode(f"{s}-{x:g}", 0, "pick", result("sr", "pick", "unseen", i, i < k)) for (s, x), k in wins.items() for i in range(n)
    ]
    references = {f"{s}-{x:g}": f"relu2-{x:g}" for s, x in wins}
    arms = [
        {"arm": f"{s}-{x:g}", "reference": references[f"{s}-{x:g}"], "sparse": s, "sigma": x, "unit": "metre"} for s, x in wins
    ]
    rows = study_rows(episodes, references, resamples=100)
    save_study(path, NOISE_SWEEP, {"arm": [e.arm for e in episodes]}, row_columns(rows), {"arms": arms, "scale": {}}, {})
    return path


def policy(path: Path, variant: str, loss: float, seed: int = 0) -> Path:
    curves = {name: np.array([3.0, loss], np.float32) for name in ("train_loss", "valid_loss")}
    curves["update"] = np.array([100, 200], np.float32)
    config = {"variant": variant, "dssa": {"sparse": "relu2"}}
    training = {"seed": seed, "updates": 200, "metrics": {"loss": loss, "valid_rate": 0.9}}
    save_policy(path, {"w": np.zeros(1, np.float32)}, config, {"name": "embedded", "sha256": "ab" * 32}, curves, training)
    return path
