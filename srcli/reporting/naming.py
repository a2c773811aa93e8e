"""Which method a row is: its title, colour and place, from the result file first and then from the method's specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srcli.config.evaluate import EvaluateConfig
from srcli.methods.base import MethodSpec
from srcli.methods.registry import UNTRAINED, specs
from srcli.reporting.published import PAPER_ROWS
from srcli.reporting.style import METHOD_COLOURS

MARK = " †"
NO_CONTROL = "† no control in this file: what the initial weights alone reach was not measured there."
_SUFFIX = ", untrained"


@dataclass(frozen=True, slots=True)
class Named:
    """A row of a result file and what is known of its method.

    Attributes:
        name: of the row, as in the file.
        method: identifier of the method.
        title: as in tables.
        control: it is the untrained form of a method that learns.
        learned: its method learns (of a control, too).
        privileged: it is shown the simulator's truth.
        paper_row: what the paper's tables call the system that it stands for; empty where they have none, or it is not known.
        family: equal for methods that the paper's rows may be compared among; empty where the method is not installed.
    """

    name: str
    method: str
    title: str
    control: bool = False
    learned: bool = False
    privileged: bool = False
    paper_row: str = ""
    family: str = ""


def named(name: str, facts: Mapping[str, Any] | None = None) -> Named:
    """What a row is called.

    Args:
        facts: what the result file says of the row: ``method``, ``title``, ``control``, ``policy``, ``privileged``; each may be
            missing. None: the file says nothing, so the name is taken for an identifier.
    """
    said = facts or {}
    control = bool(said.get("control", name.startswith(UNTRAINED)))
    method = str(said.get("method") or name).removeprefix(UNTRAINED)
    spec = specs().get(method)
    title = str(said.get("title") or (spec.title if spec is not None else method))
    if facts is not None and "method" not in facts and spec is not None and spec.fit is not None:
        # Files of the first version call by today's identifiers networks that had other parts.
        spec, title = None, f"{name}, first version"
    if control and not title.endswith(_SUFFIX):
        title += _SUFFIX
    return Named(
        name=name,
        method=method,
        title=title,
        control=control,
        learned=control or (spec.fit is not None if spec is not None else bool(said.get("policy"))),
        privileged=bool(said.get("privileged", spec is not None and spec.privileged)),
        paper_row=spec.paper_row if spec is not None else "",
        family=family_of(spec) if spec is not None else "",
    )


def family_of(spec: MethodSpec) -> str:
    """Methods of one section and one fidelity: a comparison of their rows changes one thing at a time."""
    return f"{spec.key}/{spec.fidelity}"


def default_family() -> str:
    """The family of the method that evaluations compare with by default; empty when it is not installed."""
    spec = specs().get(str(EvaluateConfig.model_fields["reference"].default))
    return family_of(spec) if spec is not None else ""


def default_method(paper_row: str) -> str:
    """Identifier of the default family's method that stands for a row of the paper; empty without one."""
    own = (s.name for s in specs().values() if s.paper_row == paper_row and family_of(s) == default_family())
    return next(own, "")


def rank(row: Named) -> tuple[int, bool, str, int, str, bool, str]:
    """Order of rows: the paper's systems by family, other learned ones, the rest, privileged ones; a control after its method."""
    place = PAPER_ROWS.index(row.paper_row) if row.paper_row in PAPER_ROWS else len(PAPER_ROWS)
    kind = 3 if row.privileged else 0 if place < len(PAPER_ROWS) else 1 if row.learned else 2
    return (kind, row.family != default_family(), row.family if kind == 0 else "", place, row.method, row.control, row.name)


def colours(rows: Iterable[Named]) -> dict[str, int]:
    """The index of the page's colour of each row by name: for the usual methods the same in every drawing.

    A control has its method's colour. Rows that would share one get the next that is free, if there is any.
    """
    found = list(rows)
    usual = [spec.name for spec in sorted(specs().values(), key=_usual)]

    def place(row: Named) -> int:
        return usual.index(row.method) if row.method in usual else len(usual)

    def owner(row: Named) -> str:
        return row.method if row.control else row.name

    taken: dict[str, int] = {}
    for row in sorted(found, key=lambda r: (place(r), r.name != r.method, r.name)):
        if owner(row) in taken:
            continue
        wanted = place(row) if place(row) < len(usual) else sum(row.name.encode())
        tries = [(wanted + step) % METHOD_COLOURS for step in range(METHOD_COLOURS)]
        taken[owner(row)] = next((c for c in tries if c not in taken.values()), tries[0])
    return {row.name: taken[owner(row)] for row in found}


def _usual(spec: MethodSpec) -> tuple[bool, bool, bool, bool, bool, int, str]:
    """The paper's own rows first, then methods that give their section its name (adapters, and those with poses of their own,
    after others), then forms of them."""
    place = PAPER_ROWS.index(spec.paper_row) if spec.paper_row in PAPER_ROWS else len(PAPER_ROWS)
    other = place == len(PAPER_ROWS)
    return (
        other,
        other and spec.name != spec.key,
        other and spec.fidelity == "adapter",
        other and "act.snap" in spec.preset,
        family_of(spec) != default_family(),
        place,
        spec.name,
    )


def without_control(rows: Sequence[Named]) -> frozenset[str]:
    """Names of the learned rows whose untrained control is not among the rows."""
    controls = {row.method for row in rows if row.control}
    return frozenset(r.name for r in rows if r.learned and not r.control and not r.privileged and r.method not in controls)
