"""What there is to report: result files found under the given paths, read into one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.config.evaluate import EvaluateConfig
from srcli.config.train import ALSO_TRAINED_WITH
from srcli.errors import ArtifactError, ConfigError, MissingAssetError, UnknownNameError
from srcli.methods.policy_file import stored_of
from srcli.methods.registry import settings, shipped, specs
from srcli.reporting.naming import Named, named

if TYPE_CHECKING:
    from srcli.artifacts.core import Schema

TASKS = ("pick", "place", "pick_place")
SPLITS = ("seen", "unseen")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation file says of one task.

    Attributes:
        name: the file, as the user gave it.
        task, suite: what was run.
        not_set_up: episodes whose scene could not be built, each once.
        rows: result rows as in its JSON, each with ``method``, ``split`` and the numbers.
        episodes, attempts: tables by column.
    """

    name: str
    task: str
    suite: str
    summary: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    episodes: Mapping[str, Sequence[Any]]
    attempts: Mapping[str, Sequence[Any]]
    config: Mapping[str, Any]
    not_set_up: tuple[Mapping[str, Any], ...] = ()

    @property
    def disturbance(self) -> tuple[float, float]:
        """How much executed actions were disturbed: metres along each axis, radians."""
        moved = (self.config.get("evaluate") or {}).get("perturb") or {}
        return float(moved.get("translation", 0.0)), float(moved.get("rotation", 0.0))

    def named(self, row: str) -> Named:
        """What a row of this file is called; a policy that the user has named keeps that name beside its method's title."""
        facts = (self.summary.get("methods") or {}).get(row)
        found = named(row, facts)
        own = found.control or row == found.method
        return found if own else replace(found, title=f"{found.title} ({row})")

    @property
    def methods(self) -> tuple[Named, ...]:
        """The methods of its rows, each once."""
        return tuple(self.named(name) for name in dict.fromkeys(str(row["method"]) for row in self.rows))


@dataclass(frozen=True, slots=True)
class Study:
    """An ablation or a noise sweep: its summary and its rows.

    Attributes:
        rows: in the shape of an evaluation's, with what distinguishes their arm.
    """

    name: str
    summary: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    config: Mapping[str, Any]

    @property
    def study(self) -> str:
        """What is compared: ``variants``, ``attribution``, ``noise``, or a study that a method declares."""
        return str(self.summary.get("study", ""))

    @property
    def pooled(self) -> tuple[Mapping[str, Any], ...]:
        """The rows over all training seeds; where there was one seed, its own."""
        found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        for row in self.rows:
            key = (str(row["task"]), str(row["split"]), str(row["arm"]))
            if key not in found or row["seed"] is None:
                found[key] = row
        return tuple(found.values())

    @property
    def methods(self) -> tuple[Named, ...]:
        """Its arms, each once."""
        return tuple(named(arm, row) for arm, row in {str(row["arm"]): row for row in self.rows}.items())


@dataclass(frozen=True, slots=True)
class Trained:
    """A policy file without its weights.

    Attributes:
        method: identifier of the method that it was fitted for.
        usual: with the settings that this method has by default, so that it may stand for it.
        config: settings that it was fitted with.
    """

    name: str
    path: Path
    method: str
    usual: bool
    config: Mapping[str, Any]
    encoder: Mapping[str, Any]
    curves: Mapping[str, Sequence[float]]
    training: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Training seed."""
        return int(self.training.get("seed", 0))

    @property
    def named(self) -> Named:
        """What its method is called."""
        return named(self.method)


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """Everything found. ``comparisons``: file and summary; ``unreadable``: files that could not be used, with the reason;
    ``packaged``: policies of the package that an ablation compared."""

    evaluations: tuple[Evaluated, ...] = ()
    ablations: tuple[Study, ...] = ()
    sweeps: tuple[Study, ...] = ()
    policies: tuple[Trained, ...] = ()
    comparisons: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = field(default=())
    packaged: tuple[Trained, ...] = ()

    def fitted(self, method: str) -> tuple[Trained, ...]:
        """The policies of a method by training seed: those with its usual settings, or all if there is none such."""
        own = sorted((p for p in self.policies if p.method == method), key=lambda p: (p.seed, p.name))
        return tuple(p for p in own if p.usual) or tuple(own)

    def policy(self, method: str) -> Trained | None:
        """The policy of a method with the lowest training seed."""
        return next(iter(self.fitted(method)), None)


def gather(paths: Sequence[Path]) -> ResultFiles:
    """Read every result and policy file among the paths; folders are searched. Without any policy that of the default
    reference counts which the package ships.

    A file that cannot be read inside a folder is listed; one that was named is an error.

    Raises:
        ArtifactError: a named path does not exist or cannot be used.
    """
    evaluations: list[Evaluated] = []
    ablations: list[Study] = []
    sweeps: list[Study] = []
    policies: list[Trained] = []
    comparisons: list[tuple[str, Mapping[str, Any]]] = []
    unreadable: list[tuple[str, str]] = []
    for file, chosen in files(paths):
        try:
            kind, found = _read(file)
        except ArtifactError as error:
            if chosen:
                raise
            unreadable.append((str(file), error.message))
            continue
        if isinstance(found, tuple):
            evaluations.extend(found)
        elif isinstance(found, Trained):
            policies.append(found)
        elif isinstance(found, dict):
            comparisons.append((str(file), found))
        elif found is not None:
            (ablations if kind == "ablation" else sweeps).append(found)
    if not policies:
        policies += _shipped(str(EvaluateConfig.model_fields["reference"].default))
    return ResultFiles(
        tuple(sorted(evaluations, key=lambda e: (_rank(e.task, TASKS), _rank(e.suite, SUITE_ORDER), e.disturbance, e.name))),
        tuple(ablations),
        tuple(sweeps),
        tuple(sorted(policies, key=lambda p: (p.method, p.seed, p.name))),
        tuple(comparisons),
        tuple(unreadable),
        tuple(found for name in _packaged(ablations) for found in _shipped(name)),
    )


SUITE_ORDER = ("paper", "wide", "compositional", "free", "files", "development", "compositional-development", "free-development")
"""Suites in the order in which they are shown."""


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def files(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """The HDF5 files under the paths, each once, and whether it was named itself.

    Raises:
        ArtifactError: a path does not exist.
    """
    found: dict[Path, bool] = {}
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*.h5")):
                hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
                if not hidden and not _of_study(file):
                    found.setdefault(file, False)
        elif path.is_file():
            found[path] = True
        else:
            raise ArtifactError(f"{path}: no such file or folder", "give files or folders that srcli has written")
    return list(found.items())


def _of_study(file: Path) -> bool:
    """Whether it is the evaluation that a study keeps for itself; what came of it stands in the study's own file."""
    kept = [folder for folder in file.parents if folder.name == "evaluation"]
    return any(
        any(folder.parent.glob(name)) for folder in kept for name in ("ablation.h5", "noise.h5", "study-*.h5", "compare.h5")
    )


def _read(path: Path) -> tuple[str, tuple[Evaluated, ...] | Study | Trained | dict[str, Any] | None]:
    from srcli.artifacts.core import SCHEMA, SCHEMAS, open_artifact
    from srcli.artifacts.study import ABLATION, COMPARISON, NOISE_SWEEP, load_study

    with open_artifact(path) as handle:
        schema = SCHEMAS[str(handle.attrs[SCHEMA])]
    kind = schema.name.split("/")[-1]
    if kind == "evaluation":
        return kind, _evaluation(path)
    if kind == "policy":
        return kind, _policy(path)
    if schema in (ABLATION, NOISE_SWEEP):
        return kind, _study(path, schema)
    if schema == COMPARISON:
        return kind, load_study(path, schema).summary
    return kind, None


def _evaluation(path: Path) -> tuple[Evaluated, ...]:
    from srcli.artifacts.evaluation import load_evaluation

    file = load_evaluation(path)
    summary = file.summary
    episodes = {key: column.tolist() for key, column in file.episodes.items()}
    attempts = {key: column.tolist() for key, column in file.attempts.items()}
    # Files of one task need not repeat it.
    only = str(summary.get("task") or file.config.get("task") or "pick")
    owner = [str(task) for task in episodes.get("task", ())] or [only] * len(episodes.get("method", ()))
    parts = []
    for task in dict.fromkeys([*(str(row.get("task", only)) for row in summary.get("rows", ())), *owner]):
        kept = [i for i, name in enumerate(owner) if name == task]
        position = {old: new for new, old in enumerate(kept)}
        tried = [i for i, row in enumerate(attempts.get("episode", ())) if row in position]
        own_attempts = {key: [column[i] for i in tried] for key, column in attempts.items()}
        if "episode" in own_attempts:
            own_attempts["episode"] = [position[row] for row in own_attempts["episode"]]
        parts.append(
            Evaluated(
                name=str(path),
                task=task,
                suite=str(summary.get("suite", "")),
                summary={**summary, "curve": [p for p in summary.get("curve", ()) if p.get("task", only) == task]},
                rows=tuple(row for row in summary.get("rows", ()) if str(row.get("task", only)) == task),
                episodes={key: [column[i] for i in kept] for key, column in episodes.items()},
                attempts=own_attempts,
                config=file.config,
                not_set_up=tuple(e for e in summary.get("not_set_up", ()) if e.get("task", only) == task),
            )
        )
    return tuple(parts)


def _policy(path: Path) -> Trained:
    from srcli.artifacts.policy import load_policy

    file = load_policy(path)
    method, config = file.method, file.config
    if not method:
        stored = stored_of(file, path)
        method, config = stored.method, dict(stored.weights.section)
    return Trained(
        name=str(path),
        path=path,
        method=method,
        usual=_usual(method, config),
        config=config,
        encoder=file.encoder,
        curves={name: values.tolist() for name, values in file.curves.items()},
        training=file.training,
    )


def _packaged(ablations: Sequence[Study]) -> list[str]:
    """Methods whose policies the package gave to an ablation, each once."""
    found: dict[str, None] = {}
    for study in ablations:
        given = {str(p.get("arm")) for p in study.summary.get("policies", ()) if p.get("origin") == "shipped"}
        found |= dict.fromkeys(str(arm["method"]) for arm in study.summary.get("arms", ()) if str(arm.get("arm")) in given)
    return list(found)


def _shipped(name: str) -> list[Trained]:
    try:
        path = shipped(name)
    except (MissingAssetError, UnknownNameError, ConfigError):
        return []
    return [replace(_policy(path), name="shipped with the package")]


def _usual(method: str, config: Mapping[str, Any]) -> bool:
    """Whether settings are a method's defaults in all that its weights depend on but the training budget."""
    spec = specs().get(method)
    if spec is None:
        return True
    try:
        own, default = (settings(spec, data).model_dump(mode="json") for data in (config, spec.section()))
    except ConfigError:
        return False
    left = {"train", *spec.acts_with} - {*ALSO_TRAINED_WITH}
    return all(own[key] == default[key] for key in own if key not in left)


def _study(path: Path, schema: Schema) -> Study:
    from srcli.artifacts.study import load_study

    file = load_study(path, schema)
    weights = {str(policy["arm"]): policy.get("sha256") for policy in file.summary.get("policies", ())}
    arms = {str(arm["arm"]): {**arm, "policy": weights.get(str(arm["arm"]))} for arm in file.summary.get("arms", ())}
    columns = {key: column.tolist() for key, column in file.rows.items()}
    lines = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return Study(str(path), file.summary, tuple(_as_row(line, arms.get(str(line["arm"]), {})) for line in lines), file.config)


def _as_row(line: Mapping[str, Any], arm: Mapping[str, Any]) -> dict[str, Any]:
    """A study's row in the shape of an evaluation's; ``seed`` is None where the training seeds are pooled."""

    def ends(value: str, low: str, high: str) -> dict[str, float] | None:
        return {"value": line[value], "low": line[low], "high": line[high]} if isfinite(line[value]) else None

    difference = ends("diff", "diff_low", "diff_high")
    paired = {"difference": difference, "only_method": line["only_arm"], "only_reference": line["only_reference"]}
    return {
        **{key: value for key, value in arm.items() if key != "seed"},
        "arm": line["arm"],
        "task": line["task"],
        "split": line["split"],
        "seed": None if line["seed"] < 0 else int(line["seed"]),
        "successes": int(line["successes"]),
        "episodes": int(line["episodes"]),
        "wilson": ends("rate", "wilson_low", "wilson_high"),
        "clustered": ends("rate", "low", "high"),
        "rate": ends("rate", *(("wilson_low", "wilson_high") if line.get("cases") == line["episodes"] else ("low", "high"))),
        "within": {"1": line["first"] * line["episodes"]},
        "first": ends("first", "first_low", "first_high"),
        "first_difference": ends("first_diff", "first_diff_low", "first_diff_high"),
        "steps_all": line["steps"],
        "steps_interval": ends("steps", "steps_low", "steps_high"),
        "steps_success": line["steps_success"] if isfinite(line["steps_success"]) else None,
        "steps_difference": ends("steps_diff", "steps_diff_low", "steps_diff_high"),
        "paired": paired if difference else None,
    }
