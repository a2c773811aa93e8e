"""Attribution: each part of a method left out, of the fitted method and, if asked for, of one that is fitted without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from srcli.errors import ConfigError
from srcli.methods.registry import UNTRAINED, parts_of, spec_of
from srcli.params import method_settings
from srcli.studies.policy_store import Arm
from srcli.studies.study import at_scale, scaled

if TYPE_CHECKING:
    from srcli.config.ablate import ScaleConfig
    from srcli.params import Params

FULL, ANEW = "full", "anew"


def plan_attribution(params: Params, method: str) -> tuple[ScaleConfig, tuple[Arm, ...], str]:
    """Scale, arms and the arm with all parts.

    Every part that the fitted weights can do without is left out of them; with ``ablate.attribution.retrain`` the method is also
    trained anew without each part that training can do without, and those arms are compared with one trained with all of them.

    Raises:
        UnknownNameError: no such method.
        ConfigError: it declares no parts.
    """
    spec, scale = spec_of(method), params.ablate.attribution
    parts = parts_of(spec)
    if not parts:
        raise ConfigError(f"method '{method}' declares no parts to leave out", "see `srcli methods show NAME`")
    base = at_scale(params, scale)
    held = scale.model_copy(update={"updates": 0})

    def arm(name: str, title: str, part: str, kind: str, **more: object) -> Arm:
        facts = {"study": "attribution", "value": name, "part": part, "kind": kind}
        return Arm(name=name, title=title, params=base, method=method, facts=facts, **more)  # type: ignore[arg-type]

    arms = [scaled(arm(FULL, "all parts", "", ""), held)]
    for name, part in parts.items():
        if part.kept and _there(params, method, part.without):
            made = arm(f"without_{name}", f"without {part.title}", name, part.kind, acts=dict(part.without))
            arms.append(scaled(made, held))
    control = Arm(
        name="untrained",
        title=f"{spec.title}, untrained",
        params=base,
        method=f"{UNTRAINED}{method}",
        facts={"study": "attribution", "value": "untrained", "part": "", "kind": "control"},
    )
    arms.append(scaled(control, held))
    if scale.retrain:
        arms.append(scaled(arm(ANEW, "all parts, trained anew", "", "", against=ANEW), scale))
        for name, part in parts.items():
            if part.retrained and _there(params, method, part.without):
                title = f"trained without {part.title}"
                made = arm(f"{ANEW}_{name}", title, name, part.kind, changes=dict(part.without), against=ANEW)
                arms.append(scaled(made, scale))
    return scale, tuple(arms), FULL


def _there(params: Params, method: str, without: Mapping[str, Any]) -> bool:
    """Whether the method has the part at all: its identifier does not fix it, and leaving it out changes its settings."""
    spec, section = method_settings(params, method)
    if any(key in spec.preset for key in without) or {*without.get("bypass", ())} & {*spec.absent}:
        return False
    return method_settings(params, method, dict(without))[1] != section
