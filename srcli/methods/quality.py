"""The best candidate of the action prior, whatever the sentence says."""

from __future__ import annotations

from srcli.methods.base import Choice, Decision, register


@register("quality")
class BestQuality:
    """Highest quality of the prior."""

    name = "quality"
    privileged = False

    def act(self, decision: Decision) -> Choice:
        scores = decision.candidates.quality
        return Choice(decision.take(decision.best(scores)), scores=scores)
