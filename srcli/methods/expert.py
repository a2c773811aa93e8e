"""The demonstrator: knows the goal and the true poses. For demonstrations and as a ceiling."""

from __future__ import annotations

from srcli.errors import SceneError
from srcli.methods.base import Choice, Decision, register
from srcli.tasks import get_task


@register("expert")
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
