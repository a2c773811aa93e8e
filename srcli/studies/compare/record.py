"""From finished evaluations to what a comparison's files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srcli.artifacts.digests import encoder_label
from srcli.evaluation.methods import Method
from srcli.methods.registry import code_digest, spec_of
from srcli.studies.results.record import rows_of_results

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.studies.compare.plan import Part, Rows
    from srcli.studies.compare.policies import Policies

SCHEMA = 1
OWN, LENT, PRIOR = "its own poses", "nearest candidate (lent)", "candidates"
"""Where the actions of a row come from."""


def part_record(part: Part, rows: Rows, results: Path) -> dict[str, Any]:
    """One part: what was played, and a row for each split and method."""
    section = rows.params.evaluate
    return {
        "part": part.name,
        "suite": part.suite,
        "task": part.task,
        "seed": rows.params.seed,
        "attempts": section.attempts,
        "initialisations": section.initialisations,
        "confidence": section.confidence,
        "reference": section.reference,
        "rows": rows_of_results(section, rows.labels, part.task, results),
        "own_poses": _own_poses(results),
    }


def _own_poses(results: Path) -> dict[str, float]:
    """Share of the actions of each row that were no candidate of the action prior."""
    from srcli.artifacts.evaluation import load_evaluation

    file = load_evaluation(results)
    method = np.asarray(file.episodes["method"]).astype(str)
    reason = np.asarray(file.attempts["reason"]).astype(str)
    acted = ~np.isin(reason, ("no_candidate", "dropped"))
    owner = method[np.asarray(file.attempts["episode"])] if len(reason) else np.zeros(0, dtype=str)
    index = np.asarray(file.attempts["index"])
    return {str(name): round(float((index[acted & (owner == name)] < 0).mean()), 4) for name in np.unique(owner[acted])}


def whole(
    params: Params, parts: Sequence[dict[str, Any]], shown: Sequence[Rows], policies: Policies, times: Mapping[str, float]
) -> dict[str, Any]:
    """All parts, and what is known of each method."""
    from srcli.perception.encoders import load_encoder

    own: dict[str, set[float]] = {}
    for part in parts:
        for name, share in part.pop("own_poses").items():
            own.setdefault(name, set()).add(share)
    encoder = load_encoder(params.encoder, "cpu").identity.as_dict()
    methods = {m.label: m for rows in shown for m in rows.methods}
    described = {
        label: {**_described(method, policies, encoder, own.get(label, set())), "seconds": times.get(method.name)}
        for label, method in methods.items()
    }
    return {
        "schema": SCHEMA,
        "study": "compare",
        "reference": params.compare.reference,
        "parts": list(parts),
        "methods": described,
        "left_out": dict(policies.left_out),
        "arms": [{"arm": label, "title": facts["title"]} for label, facts in described.items()],
    }


def _described(method: Method, policies: Policies, encoder: Mapping[str, Any], own: set[float]) -> dict[str, Any]:
    from srcli.artifacts.digests import file_digest
    from srcli.artifacts.policy import load_policy

    spec = spec_of(method.method)
    found: dict[str, Any] = {
        "method": spec.name,
        "title": f"{spec.title}, untrained" if method.control else spec.title,
        "control": method.control,
        "fidelity": spec.fidelity,
        "source": spec.source,
        "privileged": spec.privileged,
        "encoder": "" if spec.privileged else encoder_label(dict(encoder)),
        "actions": LENT if spec.preset.get("act.snap") else OWN if own and min(own) == 1.0 else PRIOR,
        "code": code_digest(spec.name),
        "policy": None,
    }
    if method.path is None:
        return found
    file = load_policy(Path(method.path))
    batch = _batch(file.config)
    updates = file.training.get("updates")
    return {
        **found,
        "policy": file_digest(method.path),
        "parameters": int(sum(np.size(value) for value in file.weights.values())),
        "updates": updates,
        "samples": file.training.get("samples"),
        "passes": updates * batch if isinstance(updates, int) and batch else None,
        "data": file.training.get("features"),
        "minutes": policies.minutes.get(spec.fitted_as),
    }


def _batch(section: Mapping[str, Any]) -> int:
    train = section.get("train")
    if not isinstance(train, Mapping):
        return 0
    return next((int(train[key]) for key in ("batch_size", "batch") if isinstance(train.get(key), int)), 0)


def without_times(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what a clock has said: equal work gives equal bytes."""
    methods = {
        label: {name: value for name, value in facts.items() if name not in ("seconds", "minutes")}
        for label, facts in data["methods"].items()
    }
    return {**data, "methods": methods}


def columns(data: Mapping[str, Any]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """The rows as columns of the two tables of an HDF5 file: counts of every row, and its numbers."""
    counts: dict[str, list[Any]] = {name: [] for name in ("arm", "part", "task", "split", "scenes", "successes", "first")}
    numbers: dict[str, list[Any]] = {
        name: []
        for name in (
            "arm",
            "part",
            "task",
            "split",
            "rate",
            "low",
            "high",
            "first",
            "first_low",
            "first_high",
            "steps",
            "steps_success",
        )
    }
    for part in data["parts"]:
        for row in part["rows"]:
            place = {"arm": row["method"], "part": part["part"], "task": part["task"], "split": row["split"]}
            total = max(row["n"], 1)
            own = {"scenes": row["n"], "successes": row["k"], "first": row["first"]["k"]}
            rates = {
                "rate": row["k"] / total,
                "low": row["clustered"][0],
                "high": row["clustered"][1],
                "first": row["first"]["k"] / total,
                "first_low": row["first"]["clustered"][0],
                "first_high": row["first"]["clustered"][1],
                "steps": row["steps"],
                "steps_success": row["steps_success"],
            }
            for table, values in ((counts, {**place, **own}), (numbers, {**place, **rates})):
                for name, column in table.items():
                    value = values[name]
                    column.append(float("nan") if value is None else value)
    return counts, numbers
