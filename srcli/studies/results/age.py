"""Whether recorded numbers are still those of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from srcli.config.encoder import SEEN_ONLY
from srcli.errors import SrcliError
from srcli.studies.results.facts import (
    DIRTY,
    method_code,
    settings_of,
    shared_code,
    shared_parameters,
    shared_weights,
)
from srcli.studies.results.record import SCHEMA

if TYPE_CHECKING:
    from srcli.params import Params

AGAIN = "measure again: `make results`"


def outdated(data: Mapping[str, Any]) -> list[str]:
    """What recorded numbers are older than, one line for each part or row and reason; empty where all are of this package.

    Args:
        data: content of docs/results.json.
    """
    if data.get("schema") != SCHEMA:
        return [f"all parts: format {data.get('schema')} where this package writes {SCHEMA}; {AGAIN}"]
    code = shared_code()
    return [f"{line}; {AGAIN}" for part in data["parts"] for line in _part(part, code)]


def _part(part: Mapping[str, Any], code: str) -> Iterator[str]:
    name = part["part"]
    if str(part["commit"]).endswith(DIRTY):
        yield f"{name}: measured in a changed work tree ({part['commit']}), so its numbers belong to no commit"
    if part["code"] != code:
        yield f"{name}: older than the code that every episode goes through ({_change(part['code'], code)})"
    try:
        params = _params(part["parameters"]["differ"])
    except SrcliError as error:
        yield f"{name}: measured with parameters that there are no longer ({error.message})"
        return
    now = shared_parameters(params)["digest"]
    if now != part["parameters"]["digest"]:
        yield f"{name}: older than the defaults of params.yaml ({_change(part['parameters']['digest'], now)})"
    weights = shared_weights(params)
    for kind in sorted({*weights, *part["weights"]}):
        before, after = part["weights"].get(kind, ""), weights.get(kind, "")
        if before != after:
            yield f"{name}: older than the {kind} ({_change(before, after)})"
    for row, method in part["methods"].items():
        yield from (f"{name}, {row}: {line}" for line in _method(method, params))


def _params(differ: Mapping[str, Any]) -> Params:
    from srcli.params import Params
    from srcli.params.loading import override

    return override(Params(), differ, "docs/results.json")


def _method(recorded: Mapping[str, Any], params: Params) -> Iterator[str]:
    from srcli.artifacts.digests import file_digest
    from srcli.methods.registry import shipped
    from srcli.params import method_settings

    name, settings = recorded["method"], recorded["settings"]
    try:
        section = method_settings(params, name, settings["differ"])[1]
        code = method_code(name)
        policy = None
        if recorded["policy"] is not None:
            weights = SEEN_ONLY if params.encoder.pretrained == SEEN_ONLY else ""
            policy = file_digest(shipped(name, weights))
    except SrcliError as error:
        yield f"measured with what there is no longer ({error.message})"
        return
    now = settings_of(name, section, policy is not None)["digest"]
    if now != settings["digest"]:
        yield f"older than the method's settings ({_change(settings['digest'], now)})"
    if code != recorded["code"]:
        yield f"older than the method's code ({_change(recorded['code'], code)})"
    if policy != recorded["policy"]:
        yield f"older than the policy that is shipped ({_change(recorded['policy'] or '', policy or '')})"


def _change(before: str, after: str) -> str:
    return f"measured with {before[:12] or 'none'}, now {after[:12] or 'none'}"
