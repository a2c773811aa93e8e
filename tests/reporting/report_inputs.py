"""Small result files with known numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from srcli.artifacts.evaluation import save_evaluation
from srcli.artifacts.policy import save_policy
from srcli.artifacts.study import ABLATION, NOISE_SWEEP, save_study
from srcli.evaluation.statistics import Result, summarise_all
from srcli.evaluation.tables import to_json
from srcli.methods.registry import UNTRAINED, settings, spec_of, specs
from srcli.studies.tables import Episode, row_columns, study_rows

TOP = "sr_plus"
CONTROL = f"{UNTRAINED}{TOP}"
INITIALISATIONS = 2
"""Networks that play each scene for a control's row."""


def result(method: str, task: str, split: str, number: int, success: bool, attempts: int = 1) -> Result:
    reasons = ("wrong_object",) * (attempts - 1) + (("success",) if success else ("nothing_held",))
    return Result(method, split, f"{task}-{split}-{number}", f"c{number}", success, attempts, reasons=reasons, task=task)


def described(name: str, title: str = "") -> dict[str, Any]:
    """What an evaluation records of a row."""
    own, control = name.removeprefix(UNTRAINED), name.startswith(UNTRAINED)
    spec = specs().get(own)
    learns = spec is None or spec.fit is not None
    return {
        "method": own,
        "title": title or spec_of(own).title,
        "privileged": spec is not None and spec.privileged,
        "control": control,
        "policy": "ab" * 32 if learns and not control else None,
        **({"seeds": list(range(INITIALISATIONS))} if control else {}),
    }


def evaluation(
    path: Path,
    wins: dict[tuple[str, str, str], int],
    n: int = 20,
    suite: str = "development",
    methods: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """An evaluation in which (method, task, split) wins its first k of n episodes at the first attempt and fails in two.

    Args:
        methods: what the file says of its rows, by name; else of each what its specification says.
    """
    results = [
        result(method, task, split, i, i < k, 1 if i < k else 2)
        for (method, task, split), k in wins.items()
        for _ in range(INITIALISATIONS if method.startswith(UNTRAINED) else 1)
        for i in range(n)
    ]
    rows = []
    for task in ("pick", "place"):
        rows += summarise_all([r for r in results if r.task == task], TOP, privileged=("expert",), resamples=100)
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
        "reference": TOP,
        "methods": methods or {m: described(m) for m in dict.fromkeys(r.method for r in results)},
        "rows": to_json(rows),
        "curve": [],
        "not_set_up": [{"task": "pick", "split": "seen", "case": "case-7", "key": "k", "methods": [TOP]}],
    }
    save_evaluation(path, episodes, attempts, summary, {"candidates": {"count": 80}, "evaluate": {"wording": "train"}})
    return path


def _arm(name: str, method: str, title: str, reference: str, **facts: object) -> dict[str, Any]:
    own, control = method.removeprefix(UNTRAINED), method.startswith(UNTRAINED)
    return {"arm": name, "title": title, "method": own, "control": control, "reference": reference, **facts}


def _title(method: str) -> str:
    return spec_of(method).title + (", untrained" if method.startswith(UNTRAINED) else "")


def _policies(arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"arm": arm["arm"], "seed": 0, "sha256": "cd" * 32} for arm in arms if not arm["control"]]


def ablation(
    path: Path, wins: dict[str, int], n: int = 40, reference: str = TOP, study: str = "variants", origin: str = "trained"
) -> Path:
    """Methods compared: each wins its first k of n unseen picks. Of another study the arms are values of one method."""
    episodes = [Episode(arm, 0, "pick", result(arm, "pick", "unseen", i, i < k)) for arm, k in wins.items() for i in range(n)]
    controls = [arm for arm in wins if arm.startswith(UNTRAINED)]
    rows = study_rows(episodes, dict.fromkeys(wins, reference), resamples=100, untaught=controls)
    if study == "variants":
        arms = [_arm(arm, arm, _title(arm), reference, study=study, value=arm) for arm in wins]
    else:
        arms = [_arm(arm, TOP, f"{study}: {arm}", reference, study=study, value=arm) for arm in wins]
    scale = {"suite": "wide", "episodes": n, "seeds": [0], "updates": 600, "choice": "learned"}
    policies = [{**policy, "origin": origin} for policy in _policies(arms)]
    summary = {"study": study, "arms": arms, "policies": policies, "scale": scale, "notes": []}
    save_study(path, ABLATION, {"arm": [e.arm for e in episodes]}, row_columns(rows), summary, {})
    return path


def attribution(path: Path, control: bool = True, anew: bool = True, n: int = 60) -> Path:
    """A method without each of its parts: at the first attempt, (pick, place) of n episodes; the others need two."""
    first = {
        "full": (50, 54, "", ""),
        "without_one_align": (35, 30, "one_align", "paper"),
        "without_encoder": (49, 53, "encoder", "paper"),
        "without_rings": (48, 14, "rings", "addition"),
        "without_choice_quality": (40, 54, "choice_quality", "choice"),
        **({"untrained": (8, 12, "", "control")} if control else {}),
        **({"anew": (46, 50, "", ""), "anew_rings": (45, 40, "rings", "addition")} if anew else {}),
        **({"anew_cosine_start": (41, 49, "cosine_start", "addition")} if anew else {}),
    }
    references = {arm: "anew" if arm.startswith("anew") else "full" for arm in first}
    episodes = [
        Episode(arm, 0, task, result(arm, task, "unseen", i, i < wins or task == "pick", 1 if i < wins or task == "place" else 2))
        for arm, numbers in first.items()
        for task, wins in zip(("pick", "place"), numbers[:2], strict=True)
        for i in range(n)
    ]
    rows = study_rows(episodes, references, resamples=100, untaught=["untrained"])
    arms = [
        _arm(
            arm,
            CONTROL if kind == "control" else TOP,
            _title(CONTROL) if kind == "control" else f"without {part}" if part else "all parts",
            references[arm],
            study="attribution",
            value=arm,
            part=part,
            kind=kind,
        )
        for arm, (_, _, part, kind) in first.items()
    ]
    scale = {"suite": "development", "episodes": n, "seeds": [0]}
    summary = {"study": "attribution", "arms": arms, "policies": _policies(arms), "scale": scale, "notes": []}
    save_study(path, ABLATION, {"arm": [e.arm for e in episodes]}, row_columns(rows), summary, {})
    return path


def sweep(path: Path, wins: dict[tuple[str, float], int], n: int = 30, reference: str = TOP) -> Path:
    """Methods under noise: each (method, sigma) wins its first k of n unseen picks."""
    episodes = [
        Episode(f"{m}-{x:g}", 0, "pick", result(m, "pick", "unseen", i, i < k)) for (m, x), k in wins.items() for i in range(n)
    ]
    references = {f"{m}-{x:g}": f"{reference}-{x:g}" for m, x in wins}
    arms = [
        _arm(f"{m}-{x:g}", m, f"{_title(m)}, σ {x:g}", f"{reference}-{x:g}", study="noise", value=m, sigma=x, unit="metre")
        for m, x in wins
    ]
    controls = [str(arm["arm"]) for arm in arms if arm["control"]]
    rows = study_rows(episodes, references, resamples=100, untaught=controls)
    summary = {"study": "noise", "arms": arms, "policies": _policies(arms), "scale": {"seeds": [0]}, "notes": []}
    save_study(path, NOISE_SWEEP, {"arm": [e.arm for e in episodes]}, row_columns(rows), summary, {})
    return path


def policy(path: Path, method: str, loss: float, seed: int = 0, changes: Mapping[str, Any] | None = None) -> Path:
    """A policy of a method, with changed settings where there are any; one of a method that is not installed has none."""
    curves = {name: np.array([3.0, loss], np.float32) for name in ("train_loss", "valid_loss")}
    curves["update"] = np.array([100, 200], np.float32)
    spec = specs().get(method)
    config = settings(spec, spec.section(), changes).model_dump(mode="json") if spec is not None else {}
    training = {"seed": seed, "updates": 200, "metrics": {"loss": loss, "valid_rate": 0.9}}
    identity = {"name": "embedded", "sha256": "ab" * 32}
    save_policy(path, {"w": np.zeros(1, np.float32)}, config, identity, curves, training, method=method)
    return path
