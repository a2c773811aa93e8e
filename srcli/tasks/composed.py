"""What a compositional sentence means in a settled scene, with the margins that make it clear. Privileged.

Everything is read from catalogue words, from the colours and sizes that are really shown, and from true poses. Where a person
could take the sentence in two ways there is no answer, and the scene is laid out again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from srcli.language.phrases import DIRECTIONS, PHRASE_KINDS, Phrase, is_called, may_be_called, phrase_kind, shown_words
from srcli.objects import catalogue, color_shares, look_variation
from srcli.objects.palette import color_words
from srcli.tasks.outlines import Outline, body, distance, gap, outlines
from srcli.tasks.regions import lies_in, rests_on
from srcli.types import OWN_LOOK, Goal, Look, SceneTruth

SHOWN, HIDDEN = 0.3, 0.1
"""An object has a colour when its words say so and this share of its surface shows it; it has not with at most the second."""

LARGER, LONGER = 1.5, 1.1
"""The largest has so many times the volume (of the convex hull) and the longest side of every other; the smallest the reverse."""

LEAD = 0.03
"""The middle of the leftmost lies at least so far to the left of any other's, metres, and its outline reaches farther, too."""

NEXT_TO, APART = 0.03, 0.08
"""Next to a reference is what lies beside it with a gap between the outlines (seen from above) of at most the first, metres; what
has a gap of at least the second is not next to it."""

OUTSIDE = 0.03
"""What is not in a container has its middle at least so far outside of the opening, metres."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The slots that a sentence asks for, and those of its reference."""

    targets: tuple[int, ...]
    references: tuple[int, ...] = ()


def phrase_of(goal: Goal) -> Phrase | None:
    """What the goal's sentence says, when it is compositional and its targets follow from the scene."""
    if not goal.modifier or goal.keyword_kind not in PHRASE_KINDS:
        return None
    return Phrase(phrase_kind(goal.keyword_kind), goal.keyword, goal.modifier, goal.reference)


def meaning(phrase: Phrase, objects: Sequence[str], looks: Sequence[Look], truth: SceneTruth) -> Meaning | None:
    """What a phrase stands for in a scene; None when a person could doubt it, or when it lies under or over something else.

    Args:
        objects, looks: one per slot; no looks: the catalogue's own instances.
        truth: the settled scene; objects that are not present have no say.
    """
    shown = tuple(looks) or (OWN_LOOK,) * len(objects)
    here = [slot for slot in range(len(objects)) if truth.present[slot]]
    called = _called(phrase.noun, objects, shown, here)
    if called is None:
        return None
    scene = outlines(tuple(objects), truth, shown)
    if phrase.kind == "attribute_noun":
        found = _with_attribute(phrase.word, objects, shown, called)
    elif phrase.kind == "superlative":
        found = _superlative(phrase.word, called, {slot: (objects[slot], shown[slot]) for slot in called}, scene)
    else:
        references = _called(phrase.reference, objects, shown, here)
        if references is None or len(references) != 1:
            return None
        found = _related(phrase.word, called, references[0], scene, truth)
    return found if found is not None and all(_in_sight(slot, found.references, scene) for slot in found.targets) else None


def _in_sight(slot: int, references: Sequence[int], scene: Mapping[int, Outline]) -> bool:
    """Whether an object overlaps no other, seen from above, but for a reference that it may lie in."""
    own = scene[slot].footprint
    return all(gap(own, other.footprint) > 0 for number, other in scene.items() if number not in (slot, *references))


def _called(noun: str, objects: Sequence[str], looks: Sequence[Look], here: Sequence[int]) -> list[int] | None:
    """Slots that a noun is the word for; None when it could be used for another as well."""
    called = [slot for slot in here if is_called(objects[slot], noun, looks[slot])]
    doubtful = any(slot not in called and may_be_called(objects[slot], noun, looks[slot]) for slot in here)
    return None if doubtful else called


@lru_cache(maxsize=65536)
def has_attribute(name: str, word: str, look: Look = OWN_LOOK) -> bool | None:
    """Whether an attribute is true of an object as it looks; None when a person could doubt it.

    A colour has to be said of it by the words of the instance, and to be seen: see :data:`SHOWN`.
    """
    stated = word in shown_words(name, look).attributes
    if word not in color_words():
        return stated
    entry = catalogue()[name]
    share = color_shares(entry, look_variation(entry, look)).get(word, 0.0)
    if stated:
        return True if share >= SHOWN else None
    return False if share <= HIDDEN else None


def _with_attribute(word: str, objects: Sequence[str], looks: Sequence[Look], called: Sequence[int]) -> Meaning | None:
    answers = {slot: has_attribute(objects[slot], word, looks[slot]) for slot in called}
    targets = tuple(slot for slot, answer in answers.items() if answer)
    return None if not targets or None in answers.values() else Meaning(targets)


@lru_cache(maxsize=4096)
def size_of(name: str, look: Look = OWN_LOOK) -> tuple[float, float]:
    """Volume of an object's convex hull, cubic metres, and longest side of its box in the catalogue's axes, metres."""
    from scipy.spatial import ConvexHull

    points = body(name).points * look.scale
    return float(ConvexHull(points).volume), float(np.ptp(points, axis=0).max())


def _superlative(
    word: str, called: Sequence[int], shown: Mapping[int, tuple[str, Look]], scene: Mapping[int, Outline]
) -> Meaning | None:
    if len(called) < 2:
        return None

    def beats(one: int, other: int) -> bool:
        if word in DIRECTIONS:
            return leads(word, scene[one], scene[other])
        return outsizes(word, shown[one], shown[other])

    best = [slot for slot in called if all(beats(slot, other) for other in called if other != slot)]
    return Meaning((best[0],)) if len(best) == 1 else None


def outsizes(word: str, one: tuple[str, Look], other: tuple[str, Look]) -> bool:
    """Whether one object (name and look) is clearly larger (word "largest") or smaller ("smallest") than another."""
    a, b = size_of(*one), size_of(*other)
    if word == "smallest":
        a, b = b, a
    return a[0] >= LARGER * b[0] and a[1] >= LONGER * b[1]


def leads(word: str, one: Outline, other: Outline) -> bool:
    """Whether one object clearly lies farther than another in the direction that a word of :data:`DIRECTIONS` names."""
    axis, sign = DIRECTIONS[word]
    middle = sign * (one.center[axis] - other.center[axis])
    return bool(middle >= LEAD and middle + one.half[axis] - other.half[axis] > 0)


def _related(word: str, called: Sequence[int], reference: int, scene: Mapping[int, Outline], truth: SceneTruth) -> Meaning | None:
    others = [slot for slot in called if slot != reference]
    answers = {slot: _is_in(scene[slot], scene[reference]) for slot in others}
    if word != "in":
        answers = {slot: _is_next_to(slot, reference, scene, truth) for slot in others}
    targets = tuple(slot for slot, answer in answers.items() if answer)
    clear = len(targets) == 1 and None not in answers.values()
    return Meaning(targets, (reference,)) if clear else None


def _is_in(thing: Outline, container: Outline) -> bool | None:
    if lies_in(thing, thing.center, container):
        return True
    around = container.footprint if container.opening is None else container.opening
    return False if float(distance(thing.center[None], around)[0]) >= OUTSIDE else None


def _is_next_to(slot: int, reference: int, scene: Mapping[int, Outline], truth: SceneTruth) -> bool | None:
    thing, other = scene[slot], scene[reference]
    between = gap(thing.footprint, other.footprint)
    if between >= APART:
        return False
    stacked = rests_on(slot, reference, truth.contacts) or rests_on(reference, slot, truth.contacts)
    over = (
        float(distance(thing.center[None], other.footprint)[0]) <= 0
        or float(distance(other.center[None], thing.footprint)[0]) <= 0
    )
    return True if between <= NEXT_TO and not stacked and not over else None
