"""The best candidate of the action prior, whatever the sentence says."""

from __future__ import annotations

from srcli.methods.base import EVERY_TASK, Choice, Decision, MethodSpec

SPEC = MethodSpec(
    name="quality",
    title="best candidate, deaf",
    tasks=EVERY_TASK,
    build="srcli.methods.quality:build",
    fidelity="full",
    source="the action prior alone",
)


class BestQuality:
    """Highest quality of the prior."""

    name = "quality"
    privileged = False

    def act(self, decision: Decision) -> Choice:
        scores = decision.candidates.quality
        return Choice(decision.take(decision.best(scores)), scores=scores)


def build(section: object, weights: object, encoder: object, device: str, seed: int) -> BestQuality:
    """The policy; it has no settings and learns nothing."""
    return BestQuality()
