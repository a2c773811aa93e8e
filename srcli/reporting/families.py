"""The systems of the paper's ablation (SR, SR-A, BASE) in each form that results have, found by what their methods stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from srcli.reporting.naming import Named, default_family, rank, without_control
from srcli.reporting.published import PAPER_ROWS, SR_ROW
from srcli.reporting.result_files import ResultFiles, Study

VARIANTS = ("", "variants")
"""Names under which a study compares methods and not values of something else."""
Numbers = Mapping[str, Any]
Cells = Mapping[tuple[str, str, str], Numbers]
Line = tuple[Named, str, str, Numbers, str]
"""Method, task, split, numbers, and the row that their paired difference is taken against."""


@dataclass(frozen=True, slots=True)
class Family:
    """Rows of one form (the paper's networks alone, or with additions): only these are compared with each other.

    Attributes:
        methods, controls: by row of the paper, the method that stands for it and its untrained control.
        cells, untrained: numbers of each (row of the paper, task, split); paired differences only where they are against SR.
        unmatched: rows of the paper whose method has no control in the file.
        origin: where the numbers come from.
    """

    key: str = ""
    methods: Mapping[str, Named] = field(default_factory=dict)
    controls: Mapping[str, Named] = field(default_factory=dict)
    cells: Cells = field(default_factory=dict)
    untrained: Cells = field(default_factory=dict)
    unmatched: frozenset[str] = frozenset()
    origin: str = ""

    def title(self, row: str) -> str:
        """What stands for a row of the paper, or the paper's own name of it where nothing does."""
        return self.methods[row].title if row in self.methods else row


def families(results: ResultFiles) -> tuple[Family, ...]:
    """Each form once, from the file with most of its rows; studies count before evaluations, the default form comes first."""
    found: dict[str, Family] = {}
    given = [family for study in results.ablations if study.study in VARIANTS for family in _of_study(study)]
    for family in (*given, *_of_evaluations(results)):
        if family.key not in found or len(family.methods) > len(found[family.key].methods):
            found[family.key] = family
    return tuple(sorted(found.values(), key=lambda f: (f.key != default_family(), f.key)))


def compared(results: ResultFiles) -> tuple[Family, ...]:
    """The forms in which at least two systems can be compared; one without rows if there is none."""
    return tuple(f for f in families(results) if len(f.methods) > 1) or (Family(),)


def _of_study(study: Study) -> list[Family]:
    lines = [(who, row) for row in study.pooled for who in study.methods if who.name == row["arm"]]
    found = [(who, str(row["task"]), str(row["split"]), row, str(row.get("reference", ""))) for who, row in lines]
    return _collected(found, study.methods, f"from `{study.name}`: {scale(study)}")


def _of_evaluations(results: ResultFiles) -> list[Family]:
    """Of several evaluations of a task and split the one with most of a form's rows, all of them from there."""
    best: dict[tuple[str, str, str], list[Line]] = {}
    methods: list[Named] = []
    for evaluated in results.evaluations:
        reference = str(evaluated.summary.get("reference", ""))
        groups: dict[tuple[str, str, str], list[Line]] = {}
        for row in evaluated.rows:
            who, split = evaluated.named(str(row["method"])), str(row["split"])
            groups.setdefault((who.family, evaluated.task, split), []).append((who, evaluated.task, split, row, reference))
        methods += evaluated.methods
        for key, lines in groups.items():
            if _systems(lines) > _systems(best.get(key, ())):
                best[key] = lines
    chosen = [line for lines in best.values() for line in lines]
    return _collected(chosen, methods, "from the evaluations, one policy file per system; no ablation file has more of it")


def _systems(lines: Iterable[Line]) -> int:
    return len({who.paper_row for who, *_ in lines if who.paper_row and not who.control})


def _collected(lines: list[Line], methods: Iterable[Named], origin: str) -> list[Family]:
    lacking = without_control(list(methods))
    found = []
    for key in dict.fromkeys(who.family for who, *_ in lines if who.paper_row in PAPER_ROWS):
        # A row that has its method's own name counts before one that a user has named.
        own = sorted(
            (line for line in lines if line[0].family == key), key=lambda line: (line[0].name != line[0].method, rank(line[0]))
        )
        systems: dict[str, Named] = {}
        for who, *_ in own:
            if who.paper_row in PAPER_ROWS and not who.control:
                systems.setdefault(who.paper_row, who)
        controls = {row: who for row, system in systems.items() for who, *_ in own if who.control and who.method == system.method}
        top = systems[SR_ROW].name if SR_ROW in systems else ""
        family = Family(key, systems, controls, origin=origin)
        unmatched = frozenset(row for row, system in systems.items() if system.name in lacking)
        cells, untrained = (_cells(own, who, top) for who in (systems, controls))
        found.append(replace(family, cells=cells, untrained=untrained, unmatched=unmatched))
    return found


def _cells(lines: Iterable[Line], methods: Mapping[str, Named], top: str) -> Cells:
    names = {who.name: row for row, who in methods.items()}
    return {
        (names[who.name], task, split): against(numbers, reference == top)
        for who, task, split, numbers, reference in lines
        if who.name in names
    }


def against(row: Numbers, right: bool) -> Numbers:
    """The row, with its paired differences only if they are against the right one."""
    return row if right else {**row, "paired": None, "steps_difference": None, "first_difference": None}


def scale(study: Study) -> str:
    """Suite, training seeds, budget and way of choosing of a study, in words."""
    told = study.summary.get("scale") or {}
    seeds = [str(seed) for seed in told.get("seeds", ())]
    words = [f"suite `{told['suite']}`"] if told.get("suite") else []
    words += [f"{len(seeds)} training seed{'s' if len(seeds) != 1 else ''} ({', '.join(seeds)})"] if seeds else []
    words += [f"{told['updates']} updates each"] if told.get("updates") else []
    words += ["chosen by what was learned alone"] if told.get("choice") == "learned" else []
    return ", ".join(words) or "scale not recorded"
