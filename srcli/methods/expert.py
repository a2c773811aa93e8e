"""The demonstrator: knows the goal and the true poses. For demonstrations and as a ceiling."""

from __future__ import annotations

from srcli.errors import SceneError
from srcli.methods.base import EVERY_TASK, Choice, Decision, MethodSpec
from srcli.tasks import get_task

SPEC = MethodSpec(
    name="expert",
    title="expert",
    tasks=EVERY_TASK,
    build="srcli.methods.expert:build",
    fidelity="reimplemented",
    source="A2's demonstrator",
    privileged=True,
)


class Expert:
    """The task's own expert. Privileged: its result rows say so."""

    name = "expert"
    privileged = True

    def act(self, decision: Decision) -> Choice:
        if decision.truth is None or decision.spec is None:
            raise SceneError("the expert needs the simulator's truth, which recorded scenes do not have")
        excluded = decision.excluded
        index = get_task(decision.task).expert(
            decision.spec, decision.truth, decision.candidates, excluded, decision.rng, decision.phase, valid=decision.valid
        )
        if index is None and decision.phase == "place":
            # No candidate is right: the attempt will most likely be judged a failure, and the ceiling has to show that.
            index = decision.best(decision.candidates.quality)
        if index is None:
            raise SceneError("no target is left for the expert")
        return Choice(decision.take(index))


def build(section: object, weights: object, encoder: object, device: str, seed: int) -> Expert:
    """The policy; it has no settings and learns nothing."""
    return Expert()
