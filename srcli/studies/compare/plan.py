"""What a comparison consists of: one evaluation for each task, and for each folder of case files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srcli.errors import ConfigError
from srcli.evaluation.methods import Method
from srcli.methods.registry import UNTRAINED, broken, spec_of, specs
from srcli.params import method_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from srcli.params import Params
    from srcli.studies.compare.policies import Policies


@dataclass(frozen=True, slots=True)
class Part:
    """One table.

    Attributes:
        name: ``SUITE/TASK``, or ``cases/FOLDER``.
        suite: of the episodes; of case files only a name.
        methods: identifiers that can do the task, in the order of the table.
        params: of its evaluation.
        cases: folder of case files.
        episodes: of one method.
    """

    name: str
    suite: str
    task: str
    methods: tuple[str, ...]
    params: Params
    episodes: int
    cases: Path | None = None

    def folder(self, out_dir: Path) -> Path:
        """Where its episodes and files are kept."""
        return out_dir / "evaluation" / self.name.replace("/", "-")


@dataclass(frozen=True, slots=True)
class Rows:
    """What plays in a part.

    Attributes:
        methods: controls once for each of their initialisations.
        params: of its evaluation, with the rows' labels in order.
    """

    methods: tuple[Method, ...]
    params: Params

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the rows in order."""
        return self.params.evaluate.methods


def plan_parts(params: Params, cases: Sequence[Path] = ()) -> tuple[Part, ...]:
    """All parts.

    Raises:
        UnknownNameError: no such method or task.
        ConfigError: the reference is not among the methods, no method can do a task, or a folder of cases has several tasks.
        ArtifactError: a damaged case file.
    """
    from srcli.evaluation.plan import planned_episodes

    section = params.compare
    if section.reference not in section.methods:
        raise ConfigError(
            f"compare.reference = {section.reference}: not among the methods", "add it to compare.methods, or choose another"
        )
    found = []
    for task in dict.fromkeys(section.tasks):
        own = _params(params, task)
        count = len(planned_episodes(own, section.suite, None))
        found.append(Part(f"{section.suite}/{task}", section.suite, task, _able(params, task), own, count))
    given = [_of_files(params, Path(folder)) for folder in dict.fromkeys(cases)]
    names = [part.name for part in given]
    for part in given:
        if names.count(part.name) > 1:
            raise ConfigError(
                f"several folders of cases are named '{part.name.partition('/')[2]}'", "give one of them another name"
            )
    return (*found, *given)


def _of_files(params: Params, folder: Path) -> Part:
    from srcli.evaluation.plan import case_folder, planned_episodes

    read = case_folder(folder, None)
    assert read is not None
    tasks = list(dict.fromkeys(case.task for case in read.cases))
    if len(tasks) != 1:
        raise ConfigError(f"{folder}: holds cases of {', '.join(tasks)}", "give the folder of each task by itself")
    splits = tuple(split for split in ("seen", "unseen") if any(item.case.split == split for item in read.cases))
    own = _params(params, tasks[0], splits)
    name = f"cases/{folder.resolve().name}"
    return Part(name, "cases", tasks[0], _able(params, tasks[0]), own, len(planned_episodes(own, "", read)), folder)


def _able(params: Params, task: str) -> tuple[str, ...]:
    names = [name for name in dict.fromkeys(params.compare.methods) if name in specs() or name not in broken()]
    able = tuple(name for name in names if task in spec_of(name).tasks)
    if not able:
        raise ConfigError(f"none of the methods can do the task '{task}'", "see `srcli methods`, or leave the task away")
    return able


def _params(params: Params, task: str, splits: tuple[str, ...] | None = None) -> Params:
    section = params.compare
    changes = {
        "suite": section.suite,
        "tasks": (task,),
        "splits": splits or section.splits,
        "episodes": section.episodes,
        "limit": 0,
        "figure_cases": 0,
        # Success is by simulation: no table here shows the rule.
        "similarity_rule": False,
    }
    return params.model_copy(update={"seed": section.seed, "evaluate": params.evaluate.model_copy(update=changes)})


def rows_of(part: Part, params: Params, policies: Policies) -> Rows:
    """The methods of a part that have what they need, each that learns followed by its control."""
    methods: list[Method] = []
    for name in part.methods:
        if name in policies.left_out:
            continue
        spec = spec_of(name)
        section = method_settings(params, name)[1]
        path = policies.files.get(spec.fitted_as)
        methods.append(Method(name, name, section, None if path is None else str(path)))
        if spec.fit is not None and params.compare.controls:
            control = policies.controls.get(name, section)
            count = params.evaluate.initialisations
            label = UNTRAINED + name
            methods += [Method(f"{label}#{seed}", name, control, seed=seed, row=label) for seed in range(count)]
    labels = tuple(dict.fromkeys(method.label for method in methods))
    reference = params.compare.reference
    changes = {"methods": labels, "reference": reference if reference in labels else next(iter(labels), "")}
    own = part.params.model_copy(update={"evaluate": part.params.evaluate.model_copy(update=changes)})
    return Rows(tuple(methods), own)
