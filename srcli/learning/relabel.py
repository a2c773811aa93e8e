"""Other sentences for a recorded observation: what the expert would have taken, had it been asked for something else.

A settled and rendered scene costs a second, a sentence costs nothing. Goals, right candidates and labels follow from the recorded
truth by the rules of the tasks, as the expert's own do; nothing is simulated anew. Privileged, like every label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from srcli.config.language import LanguageConfig
from srcli.config.sim import SimConfig
from srcli.language import could_mean, draw_keyword, pick_instruction
from srcli.language.phrases import PHRASE_KINDS, SUPERLATIVES, Phrase, phrase_instruction, plain_label, shown_words
from srcli.language.relations import place_instruction
from srcli.objects import catalogue
from srcli.tasks.base import Task
from srcli.tasks.composed import Meaning, meaning
from srcli.tasks.outlines import gap, outlines
from srcli.tasks.placing import GENERAL_SHARE, fits, relations
from srcli.types import F64, I32, OWN_LOOK, Bool, Candidates, EpisodeSpec, Goal, HeldExtent, Phase, SceneTruth

_TRIES = 20
"""Draws for each sentence that is wanted: most of a pile lies where no candidate reaches it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Another sentence for the same observation.

    Attributes:
        valid: (K,) candidates that are right.
        label: the candidate that the expert takes.
    """

    instruction: str
    goal: Goal
    valid: Bool
    label: int


def recorded_truth(poses: F64, sim: SimConfig) -> SceneTruth:
    """The state before a recorded attempt: (S, 7) poses with NaN where removed. Contacts are not recorded."""
    with np.errstate(invalid="ignore"):
        (x0, x1), (y0, y1) = sim.workspace_x, sim.workspace_y
        x, y, z = poses[:, 0], poses[:, 1], poses[:, 2]
        present = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1) & (z > -0.01)
    return SceneTruth(poses, present, np.zeros((0, 0, 0), dtype=np.uint16), workspace=(sim.workspace_x, sim.workspace_y))


def ask_anew(
    task: Task,
    spec: EpisodeSpec,
    truth: SceneTruth,
    candidates: Candidates,
    phase: Phase,
    *,
    slots: I32,
    excluded: Bool,
    held: HeldExtent | None,
    count: int,
    compositional: float,
    rng: np.random.Generator,
    language: LanguageConfig,
) -> tuple[Asked, ...]:
    """Up to ``count`` other sentences, each of its own meaning; fewer where the scene has no more that the expert could obey.

    Wording and split are the episode's, so nothing is said that its demonstrations could not say. A sentence that could be taken
    for anything but its targets is not said, nor one for which the expert's rule takes a wrong candidate.

    Args:
        slots: (K,) object on which each grasp lies, -1 for none.
        compositional: share of compositional sentences among those for picking.
    """
    found: dict[tuple[str, ...], Asked] = {}
    said = {_meant(spec.goal, phase)}
    for _ in range(count * _TRIES):
        if len(found) >= count:
            break
        drawn = _draw_pick(spec, truth, compositional, rng, language) if phase == "pick" else _draw_place(spec, truth, rng)
        if drawn is None or _meant(drawn[1], phase) in said:
            continue
        instruction, goal = drawn
        asked = replace(spec, goal=goal)
        valid = task.valid(asked, truth, candidates, phase, slots=slots, held=held) & ~excluded
        label = task.expert(asked, truth, candidates, excluded, rng, phase, valid=valid)
        if label is None or not valid[label]:
            continue
        said.add(_meant(goal, phase))
        found[_meant(goal, phase)] = Asked(instruction, goal, valid, label)
    return tuple(found.values())


def _meant(goal: Goal, phase: Phase) -> tuple[str, ...]:
    if phase == "place":
        return goal.relation, goal.reference
    return goal.keyword, goal.modifier, goal.reference if goal.modifier else ""


def _draw_pick(
    spec: EpisodeSpec, truth: SceneTruth, compositional: float, rng: np.random.Generator, language: LanguageConfig
) -> tuple[str, Goal] | None:
    here = [slot for slot in range(len(spec.objects)) if truth.present[slot]]
    if not here:
        return None
    if compositional and rng.random() < compositional:
        return _compose(spec, truth, here, rng)
    names = [spec.objects[slot] for slot in here]
    kind, keyword, fitting = draw_keyword(rng, names, spec.wording)
    if any(name not in fitting and could_mean(name, keyword) for name in names):
        return None
    targets = tuple(slot for slot in here if spec.objects[slot] in fitting)
    return pick_instruction(rng, kind, keyword, fitting, spec.wording, language), Goal(keyword, kind, targets)


def _compose(spec: EpisodeSpec, truth: SceneTruth, here: list[int], rng: np.random.Generator) -> tuple[str, Goal] | None:
    looks = spec.looks or (OWN_LOOK,) * len(spec.objects)
    slot = here[int(rng.integers(len(here)))]
    words = shown_words(spec.objects[slot], looks[slot])
    nouns = [plain_label(spec.objects[slot], looks[slot]), *words.general]
    noun = nouns[int(rng.integers(len(nouns)))]
    kind = PHRASE_KINDS[int(rng.integers(len(PHRASE_KINDS)))]
    reference = ""
    if kind == "attribute_noun":
        choices: tuple[str, ...] = tuple(words.attributes)
    elif kind == "superlative":
        choices = SUPERLATIVES
    else:
        # Contacts are not recorded: of what lies in or on another nothing is said.
        choices = ("next to",)
        other = here[int(rng.integers(len(here)))]
        reference = plain_label(spec.objects[other], looks[other])
    if not choices or reference == noun:
        return None
    phrase = Phrase(kind, noun, choices[int(rng.integers(len(choices)))], reference)
    means = meaning(phrase, spec.objects, spec.looks, truth)
    if means is None or _stacked(means, spec, truth):
        return None
    goal = Goal(noun, kind, means.targets, references=means.references, reference=reference, modifier=phrase.word)
    return phrase_instruction(rng, phrase, spec.wording), goal


def _stacked(means: Meaning, spec: EpisodeSpec, truth: SceneTruth) -> bool:
    """Whether a target and its reference overlap, seen from above, so that one may lie on the other."""
    scene = outlines(tuple(spec.objects), truth, spec.looks or (OWN_LOOK,) * len(spec.objects))
    return any(gap(scene[slot].footprint, scene[other].footprint) <= 0 for slot in means.targets for other in means.references)


def _draw_place(spec: EpisodeSpec, truth: SceneTruth, rng: np.random.Generator) -> tuple[str, Goal] | None:
    here = [slot for slot in range(len(spec.objects)) if truth.present[slot] and slot != spec.held]
    if not here or spec.held < 0:
        return None
    reference = here[int(rng.integers(len(here)))]
    entry = catalogue()[spec.objects[reference]]
    word = entry.label
    if entry.general and rng.random() < GENERAL_SHARE:
        word = entry.general[int(rng.integers(len(entry.general)))]
    thing = spec.objects[spec.held]
    others = [spec.objects[slot] for slot in here if slot != reference]
    if any(could_mean(name, word) for name in (*others, thing)):
        return None
    allowed = [r for r in relations(spec.split, spec.wording) if fits(thing, entry.name, r.region)]
    if not allowed:
        return None
    relation = allowed[int(rng.integers(len(allowed)))]
    goal = Goal("", "", (), relation.word, (reference,), word)
    return place_instruction(rng, relation.word, word, spec.wording), goal
