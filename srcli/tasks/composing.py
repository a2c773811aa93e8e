"""Scenes in which a compositional sentence means one object, and not those that its words alone would fit.

Fewer objects than in a pile, apart from each other, in the middle zone: what is beside what has to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from srcli.config.scene import SceneConfig
from srcli.errors import ConfigError, SceneError
from srcli.language.phrases import (
    DIRECTIONS,
    RELATIVE,
    SUPERLATIVES,
    Phrase,
    PhraseKind,
    is_called,
    may_be_called,
    plain_label,
    shown_words,
)
from srcli.objects import build, catalogue, in_band, look_variation
from srcli.objects.palette import base_colors, color_words, palette
from srcli.tasks.composed import has_attribute, outsizes
from srcli.tasks.draws import draw_names, random_rotations, split_names
from srcli.tasks.outlines import Outline, gap, opening_size, outline
from srcli.tasks.placing import fits
from srcli.types import F64, OWN_LOOK, Look

T = TypeVar("T")

LAYOUTS = 10
"""Drop poses per scene: the first, and those for when it does not settle as the sentence needs."""

KIND_SHARE = 0.6
"""Share of sentences whose noun is a kind ("bottle"), where the split allows it; the others use a label."""

OTHERS = (2, 2)
"""Distractors of "the red cup": other cups, other red things."""

SAME_SHARE = 0.5
"""Share of "the cup next to the box" whose two cups are alike in everything; else they are two objects of one kind."""

DECOY_SHARE = 0.5
"""Share of these scenes in which the other cup lies next to something, too."""

RIVALS = (2, 3)
"""How many others of the kind a superlative has, at least and at most."""

SCALES = (0.85, 1.2)
"""Sizes of the objects among which the largest or smallest is meant, as factors on the catalogue's."""

_THICKEST, _THINNEST, _LONGEST, _HEAVIEST = 0.075, 0.016, 0.18, 0.36
_WIDE_OPENING = (0.07, 0.1)
_BESIDE, _WAYS, _FAR, _STEP = 0.012, 12, 0.35, 0.003
_TRIES = 400
_STANDING = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Composed:
    """A scene before it is laid out.

    Attributes:
        objects, looks: one per slot.
        meant: slot that the sentence is to mean; -1 where only the settled scene tells.
        reference: slot of the reference, or -1.
        kin: slots that the noun fits.
        decoy: slot of what the other of the kind lies next to, or -1.
    """

    phrase: Phrase
    objects: tuple[str, ...]
    looks: tuple[Look, ...]
    meant: int
    reference: int = -1
    kin: tuple[int, ...] = ()
    decoy: int = -1


def compose(rng: np.random.Generator, kind: PhraseKind, split: str, config: SceneConfig) -> Composed:
    """Draw a phrase of one kind and the objects of its scene, ``scene.place_objects`` or as many as it needs.

    Raises:
        UnknownNameError: no such split.
        SceneError: the split has no objects for such a sentence.
    """
    word = {"attribute_noun": "", "reference": _pick(rng, RELATIVE), "superlative": _pick(rng, SUPERLATIVES)}[kind]
    draw = {"attribute_noun": _attribute_noun, "reference": _reference, "superlative": _superlative}[kind]
    for _ in range(_TRIES):
        found = draw(rng, split, word, config)
        if found is not None:
            return found
    raise SceneError(
        f"the objects of '{split}' give no scene for a sentence of kind '{kind}'",
        "add objects of more kinds and colours to the library, or set scene.library: add",
    )


# --------------------------------------------------------------------------------------------------------------- objects


@lru_cache(maxsize=65536)
def graspable(name: str, look: Look = OWN_LOOK) -> bool:
    """Whether the gripper picks an object up alone with ease: it is narrow enough, not flat, neither long nor heavy."""
    entry = catalogue()[name]
    model = build(entry, look_variation(entry, look))
    thin, middle, long = np.sort(model.extent)
    return bool(thin >= _THINNEST and middle <= _THICKEST and long <= _LONGEST and model.mass <= _HEAVIEST)


@lru_cache(maxsize=8)
def _nouns(split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kinds of two objects or more, and labels without their colour, of a split."""
    entries = [catalogue()[name] for name in split_names(split)]
    kinds = sorted({word for entry in entries for word in entry.general})
    labels = sorted({plain_label(entry.name) for entry in entries} - set(kinds))
    return tuple(kinds), tuple(labels)


def _draw_noun(rng: np.random.Generator, split: str) -> tuple[str, list[str]]:
    """A noun and the objects of the split that it is the word for."""
    kinds, labels = _nouns(split)
    pool = kinds if rng.random() < KIND_SHARE else labels
    noun = pool[int(rng.integers(len(pool)))]
    return noun, [name for name in split_names(split) if is_called(name, noun)]


def _pick(rng: np.random.Generator, pool: Sequence[T]) -> T:
    return pool[int(rng.integers(len(pool)))]


@lru_cache(maxsize=1024)
def _looks(name: str) -> tuple[Look, ...]:
    """An object in its own colour, and in all others that it may be shown in without being taken for a held-out instance."""
    entry = catalogue()[name]
    if not entry.recolor:
        return (OWN_LOOK,)
    # The colour of another part would swallow its pattern.
    looks = [Look(color=color) for color in base_colors() if palette()[color].word not in entry.colors]
    if entry.split == "seen":
        varied = [(look, look_variation(entry, look)) for look in looks]
        looks = [look for look, variation in varied if variation is not None and not in_band(entry, variation)]
    return (OWN_LOOK, *looks)


def _shuffled(
    rng: np.random.Generator,
    phrase: Phrase,
    chosen: Sequence[tuple[str, Look]],
    fillers: Sequence[str],
    meant: int,
    reference: int = -1,
    kin: Sequence[int] = (),
    decoy: bool = False,
    first: int = -1,
) -> Composed:
    """The scene in a random order of dropping; ``first`` comes before ``meant``, which falls into it."""
    everything = [*chosen, *((name, OWN_LOOK) for name in fillers)]
    order = [int(i) for i in rng.permutation(len(everything))]
    if first >= 0:
        a, b = order.index(first), order.index(meant)
        if a > b:
            order[a], order[b] = order[b], order[a]
    where = {old: new for new, old in enumerate(order)}
    return Composed(
        phrase=phrase,
        objects=tuple(everything[i][0] for i in order),
        looks=tuple(everything[i][1] for i in order),
        meant=where.get(meant, -1),
        reference=where.get(reference, -1),
        kin=tuple(sorted(where[slot] for slot in kin)),
        decoy=where[len(chosen)] if decoy and fillers else -1,
    )


def _fillers(rng: np.random.Generator, split: str, nouns: Sequence[str], count: int, avoid: str = "") -> list[str]:
    """Objects that none of the nouns could be used for, and that do not have an attribute."""
    pool = [name for name in split_names(split) if not any(may_be_called(name, noun) for noun in nouns)]
    return draw_names(rng, [name for name in pool if not avoid or has_attribute(name, avoid) is False], max(count, 0))


def _attribute_noun(rng: np.random.Generator, split: str, _: str, config: SceneConfig) -> Composed | None:
    """For "the red cup": one of the noun has the colour; others of the noun have not, and others with it are none of the noun."""
    noun, carriers = _draw_noun(rng, split)
    options = [(name, look) for name in carriers for look in _looks(name) if graspable(name)]
    if not options:
        return None
    name, look = options[int(rng.integers(len(options)))]
    colors = [word for word in shown_words(name, look).attributes if word in color_words() and has_attribute(name, word, look)]
    if not colors:
        return None
    color = _pick(rng, colors)
    unlike = [(n, o) for n in carriers for o in _looks(n) if has_attribute(n, color, o) is False]
    others = [other for other in split_names(split) if not may_be_called(other, noun)]
    alike = [(n, o) for n in others for o in _looks(n) if has_attribute(n, color, o) and not may_be_called(n, noun, o)]
    if len(unlike) < OTHERS[0] or len(alike) < OTHERS[1]:
        return None
    chosen = [(name, look)]
    chosen += [unlike[i] for i in rng.choice(len(unlike), OTHERS[0], replace=False)]
    chosen += [alike[i] for i in rng.choice(len(alike), OTHERS[1], replace=False)]
    fillers = _fillers(rng, split, (noun,), config.place_objects - len(chosen), color)
    phrase = Phrase("attribute_noun", noun, color)
    return _shuffled(rng, phrase, chosen, fillers, 0, kin=range(1 + OTHERS[0]))


def _reference(rng: np.random.Generator, split: str, relation: str, config: SceneConfig) -> Composed | None:
    """For "the cup next to the box": two of the noun, one of the reference."""
    noun, carriers = _draw_noun(rng, split)
    usable = [name for name in carriers if graspable(name)]
    if not usable:
        return None
    target = _pick(rng, usable)
    names = [name for name in split_names(split) if not may_be_called(name, noun)]
    if relation == "in":
        names = [name for name in names if holds(name) and fits(target, name, "in")]
    if not names:
        return None
    reference = _pick(rng, names)
    look = OWN_LOOK
    if relation == "in":
        # Few things hold others: colours make more of them.
        looks = _looks(reference)
        look = looks[int(rng.integers(len(looks)))]
    words = shown_words(reference, look)
    said = [
        word
        for word in dict.fromkeys((words.label, plain_label(reference, look), *words.general))
        if not may_be_called(target, word)
    ]
    if not said:
        return None
    word = _pick(rng, said)
    rest = [name for name in carriers if name != target and not may_be_called(name, word)]
    twin = target if not rest or rng.random() < SAME_SHARE else _pick(rng, rest)
    chosen = [(target, OWN_LOOK), (twin, OWN_LOOK), (reference, look)]
    fillers = _fillers(rng, split, (noun, word), config.place_objects - len(chosen))
    phrase = Phrase("reference", noun, relation, word)
    decoy = relation != "in" and rng.random() < DECOY_SHARE
    return _shuffled(rng, phrase, chosen, fillers, 0, 2, (0, 1), decoy, 2 if relation == "in" else -1)


def holds(name: str) -> bool:
    """Whether a thing that lies in an object can be seen and taken out from above: its opening is wide."""
    narrow, wide = opening_size(name)
    return narrow >= _WIDE_OPENING[0] and wide >= _WIDE_OPENING[1]


def _superlative(rng: np.random.Generator, split: str, word: str, config: SceneConfig) -> Composed | None:
    """For "the largest box" and "the leftmost bottle": several of the noun, of different sizes where size is meant."""
    noun, carriers = _draw_noun(rng, split)
    count = 1 + int(rng.integers(RIVALS[0], RIVALS[1] + 1))
    names = [_pick(rng, carriers) for _ in range(count)]
    looks = [OWN_LOOK] * count
    if word not in DIRECTIONS:
        looks = [Look(scale=round(float(rng.uniform(*SCALES)), 3)) for _ in names]
    kin = list(zip(names, looks, strict=True))
    meant = -1
    if word in DIRECTIONS:
        if not all(graspable(*one) for one in kin):
            return None
    else:
        best = [i for i, one in enumerate(kin) if all(outsizes(word, one, other) for j, other in enumerate(kin) if j != i)]
        if len(best) != 1 or not graspable(*kin[best[0]]):
            return None
        meant = best[0]
    fillers = _fillers(rng, split, (noun,), config.place_objects - count)
    return _shuffled(rng, Phrase("superlative", noun, word), kin, fillers, meant, kin=range(count))


def arrange(rng: np.random.Generator, phrase: Phrase, objects: Sequence[str]) -> Composed:
    """A scene of given objects in a random order of dropping. Which of the noun is set to the reference is drawn.

    Raises:
        ConfigError: the sentence cannot mean anything among these objects.
    """
    kin = [i for i, name in enumerate(objects) if is_called(name, phrase.noun)]
    references = [i for i, name in enumerate(objects) if phrase.reference and is_called(name, phrase.reference)]
    if not kin or (phrase.kind == "reference" and (len(references) != 1 or kin == references)):
        what = phrase.noun if not kin else phrase.reference
        raise ConfigError(f"the objects have no '{what}', or none that it names alone", "correct keyword, reference or objects")
    chosen = [(name, OWN_LOOK) for name in objects]
    if phrase.kind != "reference":
        return _shuffled(rng, phrase, chosen, (), -1, kin=kin)
    meant = _pick(rng, [slot for slot in kin if slot not in references])
    first = references[0] if phrase.word == "in" else -1
    return _shuffled(rng, phrase, chosen, (), meant, references[0], kin, first=first)


# --------------------------------------------------------------------------------------------------------------- layouts


def layouts(rng: np.random.Generator, scene: Composed, config: SceneConfig) -> tuple[F64, ...]:
    """:data:`LAYOUTS` times (S, 7) drop poses, xyz metres + quaternion xyzw, in the frame of the zone for picking.

    Objects lie ``scene.place_spacing`` apart in any rotation, hollow ones upright. Where a relation is meant, what is to be in a
    container falls into the middle of it, and what is to be next to the reference stands beside it; the reference and all of the
    noun are then dropped as they are modelled, turned about the vertical only, so that no posture tells which is meant.
    """
    return tuple(_layout(rng, scene, config) for _ in range(LAYOUTS))


def _layout(rng: np.random.Generator, scene: Composed, config: SceneConfig) -> F64:
    count = len(scene.objects)
    drops = np.empty((count, 7))
    drops[:, :2] = np.array([config.center_x, config.center_y]) + _spread(rng, count, config)
    drops[:, 2] = config.drop_height
    drops[:, 3:] = random_rotations(rng, count)
    level = {slot for slot, name in enumerate(scene.objects) if opening_size(name)[0] > 0}
    if scene.reference >= 0:
        level |= {*scene.kin, scene.reference, scene.decoy} - {-1}
    for slot in sorted(level):
        half = rng.uniform(-np.pi, np.pi) / 2
        drops[slot, 3:] = 0.0, 0.0, np.sin(half), np.cos(half)
        drops[slot, 3:] *= 1.0 if drops[slot, 6] >= 0 else -1.0
    if scene.reference < 0 or scene.meant < 0:
        return drops
    if scene.phrase.word == "in":
        drops[scene.meant, :2] = drops[scene.reference, :2]
        return drops
    _set_beside(rng, scene, drops, scene.meant, scene.reference, config)
    if scene.decoy >= 0:
        other = next(slot for slot in scene.kin if slot != scene.meant)
        _set_beside(rng, scene, drops, other, scene.decoy, config)
    return drops


def _spread(rng: np.random.Generator, count: int, config: SceneConfig) -> F64:
    """(S, 2) points of the square for placing scenes, ``scene.place_spacing`` apart; closer where so many do not fit."""
    half, spacing = config.place_half_width, config.place_spacing
    while True:
        points: list[F64] = []
        for _ in range(_TRIES):
            point = rng.uniform(-half, half, 2)
            if all(np.linalg.norm(point - other) >= spacing for other in points):
                points.append(point)
            if len(points) == count:
                return np.array(points)
        spacing *= 0.97


def _set_beside(rng: np.random.Generator, scene: Composed, drops: F64, slot: int, beside: int, config: SceneConfig) -> None:
    """Move one drop pose until the outlines, as dropped, are a finger's width apart, in the direction with the most room."""
    other = _outline(scene, drops, beside).footprint
    mine = _outline(scene, drops, slot)
    own, radius = mine.footprint - drops[slot, :2], float(np.linalg.norm(mine.half))
    rest = drops[[s for s in range(len(drops)) if s not in (slot, beside)], :2]
    middle = np.array([config.center_x, config.center_y])
    best, most = drops[slot, :2].copy(), -np.inf
    for angle in rng.uniform(-np.pi, np.pi) + np.arange(_WAYS) * 2 * np.pi / _WAYS:
        way = np.array([np.cos(angle), np.sin(angle)])
        near, far = 0.0, _FAR
        while far - near > _STEP:
            between = (near + far) / 2
            apart = gap(own + drops[beside, :2] + way * between, other)
            near, far = (near, between) if apart > _BESIDE else (between, far)
        point = drops[beside, :2] + way * far
        room = config.place_half_width + _STEP - float(np.abs(point - middle).max())
        if len(rest):
            room = min(room, float(np.linalg.norm(rest - point, axis=1).min()) - radius)
        if room > most:
            best, most = point, room
    drops[slot, :2] = best


def _outline(scene: Composed, drops: F64, slot: int) -> Outline:
    return outline(scene.objects[slot], drops[slot], scene.looks[slot].scale)
