"""What the results consist of: one evaluation for each suite, task and weights of the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srcli.config.encoder import SEEN_ONLY
from srcli.errors import ConfigError, unknown_name
from srcli.evaluation.suites import FREE, SUITES
from srcli.methods.registry import UNTRAINED, is_shipped, spec_of

if TYPE_CHECKING:
    from srcli.params import Params

STRICT = "strict"
"""Behind the name of a part: one attempt of the paper's networks."""


@dataclass(frozen=True, slots=True)
class Part:
    """One evaluation and its table.

    Attributes:
        name: ``SUITE/TASK``, with ``@seen-only`` behind it for the harder row, ``@strict`` for the paper's networks.
        params: of the evaluation, its methods among them.
        left_out: methods of which no weights for this encoder are shipped.
    """

    name: str
    suite: str
    task: str
    weights: str
    params: Params
    left_out: tuple[str, ...] = ()

    def folder(self, out_dir: Path) -> Path:
        """Where its episodes and files are kept."""
        return out_dir / self.name.replace("/", "-").replace("@", "-")

    @property
    def methods(self) -> tuple[str, ...]:
        """Its rows in order."""
        return self.params.evaluate.methods


def plan_parts(params: Params, only: tuple[str, ...] = ()) -> tuple[Part, ...]:
    """All parts of section ``results``, or those named.

    Raises:
        UnknownNameError: no such suite, method or part.
        ConfigError: the reference is not among the methods.
    """
    section = params.results
    wanted = [(name, "") for name in section.parts] + [(name, SEEN_ONLY) for name in section.seen_only]
    parts = tuple(_part(params, name, weights) for name, weights in dict.fromkeys(wanted))
    parts += tuple(_part(params, name, "", strict=True) for name in dict.fromkeys(section.strict))
    names = [part.name for part in parts]
    for name in only:
        if name not in names:
            raise unknown_name("part of the results", name, names)
    return tuple(part for part in parts if not only or part.name in only)


def _part(params: Params, name: str, weights: str, strict: bool = False) -> Part:
    section = params.results
    wanted, reference = section.methods, section.reference
    if strict:
        wanted, reference = section.strict_methods, section.strict_methods[0]
    suite, _, task = name.partition("/")
    if suite not in SUITES:
        raise unknown_name("suite", suite, SUITES)
    able = [method for method in dict.fromkeys(wanted) if task in spec_of(method).tasks]
    left_out = [m for m in able if weights and spec_of(m).fit is not None and not is_shipped(m, weights)]
    methods = [method for method in able if method not in left_out]
    if reference not in methods:
        raise ConfigError(
            f"results.reference = {reference}: not among the methods of {name} ({', '.join(methods)})",
            "add it to results.methods, or choose another reference",
        )
    rows = [row for method in methods for row in (method, *([UNTRAINED + method] if _learns(method) else ()))]
    changes = {
        "suite": suite,
        "tasks": (task,),
        "methods": tuple(dict.fromkeys(rows)),
        "reference": reference,
        "splits": ("unseen",) if weights else section.splits,
        # A sentence is asked as often as its suite says: more repeats of the same words tell little.
        "episodes": 0 if suite in FREE else section.episodes,
        "limit": 0,
        "figure_cases": 0,
        "attempts": 1 if strict else params.evaluate.attempts,
        # Success is by simulation; the rule would be one column more that no table here shows.
        "similarity_rule": False,
    }
    encoder = params.encoder.model_copy(update={"name": "embedded", "pretrained": weights}) if weights else params.encoder
    evaluate = params.evaluate.model_copy(update=changes)
    own = params.model_copy(update={"seed": section.seed, "evaluate": evaluate, "encoder": encoder})
    tail = STRICT if strict else weights
    return Part(f"{name}@{tail}" if tail else name, suite, task, weights, own, tuple(left_out))


def _learns(method: str) -> bool:
    return not method.startswith(UNTRAINED) and spec_of(method).fit is not None
