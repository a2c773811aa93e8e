"""Random instances of an entry, and the words that are true of what is then rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from srcli.objects.catalogue import ObjectEntry, catalogue
from srcli.objects.model import Jitter, Variation, build, shade
from srcli.objects.palette import base_colors, palette
from srcli.types import F64, Look

SCALE_RANGE = (0.8, 1.25)
"""Each axis; non-uniform and overall scale together stay inside."""
RATIO_BAND = 0.10
"""Close to a held-out instance in proportions: all three axis ratios within this share of it."""
COLOR_BAND = 0.15
"""Close to it in colour: the main colours' Euclidean distance in sRGB (0..1) is below this."""
HUE_JITTER, SATURATION_JITTER, VALUE_JITTER = 0.012, 0.10, 0.12
RECOLOR_CHANCE = 0.75
_TRIES = 2000


@dataclass(frozen=True, slots=True)
class Attributes:
    """The words of one instance; fields as in :class:`ObjectEntry`, colour words as rendered."""

    label: str
    synonyms: tuple[str, ...]
    general: tuple[str, ...]
    attributes: tuple[str, ...]
    functions: tuple[str, ...]
    colors: tuple[str, ...]


def describe(entry: ObjectEntry, variation: Variation | None = None) -> Attributes:
    """The words that are true of an instance; without a variation, of the catalogue's own."""
    swapped = dict(variation.recolor) if variation else {}
    old = palette()[entry.main_color].word
    new = palette()[swapped.get(entry.main_color, entry.main_color)].word
    rename = {old: new} if entry.names_color else {}
    attributes = tuple(dict.fromkeys(new if word == old else word for word in entry.attributes))
    return Attributes(
        label=_reworded(entry.label, rename),
        synonyms=tuple(_reworded(s, rename) for s in entry.synonyms),
        general=entry.general,
        attributes=attributes,
        functions=entry.functions,
        colors=tuple(dict.fromkeys(palette()[swapped.get(c, c)].word for c in entry.palette_colors)),
    )


def look_variation(entry: ObjectEntry, look: Look) -> Variation | None:
    """The variation that makes an entry look so; None when that is the catalogue's own instance."""
    if look.scale == 1.0 and look.color in ("", entry.main_color):
        return None
    recolor = ((entry.main_color, look.color),) if look.color not in ("", entry.main_color) else ()
    return Variation(scale=(look.scale,) * 3, recolor=recolor)


def sample_variation(entry: ObjectEntry, rng: np.random.Generator) -> tuple[Variation, Attributes]:
    """A random instance and its words.

    Every instance stays outside a band around each held-out instance of its category: an axis ratio differs by more than
    ``RATIO_BAND``, or the main colour by more than ``COLOR_BAND``. The words of a held-out object are so learned in all colours
    and proportions but those of the instance itself.

    Raises:
        RuntimeError: no such instance was found.
    """
    for _ in range(_TRIES):
        variation = _draw(entry, rng)
        if not in_band(entry, variation):
            return variation, describe(entry, variation)
    raise RuntimeError(f"no variation of '{entry.name}' lies outside the bands of held-out instances; set 'recolor: true'")


def in_band(entry: ObjectEntry, variation: Variation) -> bool:
    """Whether an instance is too close to a held-out one to be shown in pre-training."""
    return any(_too_close(entry, variation, held) for held in _held_out().get(entry.category, ()))


def _too_close(entry: ObjectEntry, variation: Variation, held: ObjectEntry) -> bool:
    mine = np.asarray(shade(entry.main_color, variation)[:3])
    near_color = float(np.linalg.norm(mine - palette()[held.main_color].array())) <= COLOR_BAND
    if entry.name == held.name:
        x, y, z = variation.scale
        gap = max(abs(a / b - 1) for a, b in ((x, y), (y, z), (x, z), (y, x), (z, y), (z, x)))
    else:
        # Another shape of the same category: compared by its sorted side lengths.
        size, other = np.sort(_extent(entry) * variation.scale), np.sort(_extent(held))
        gap = float(np.abs((size / size.max()) / (other / other.max()) - 1).max())
    return near_color and gap <= RATIO_BAND


@lru_cache(maxsize=512)
def _extent(entry: ObjectEntry) -> F64:
    return build(entry).extent


@lru_cache(maxsize=1)
def _held_out() -> Mapping[str, tuple[ObjectEntry, ...]]:
    grouped: dict[str, tuple[ObjectEntry, ...]] = {}
    for name in catalogue().unseen:
        entry = catalogue()[name]
        grouped[entry.category] = (*grouped.get(entry.category, ()), entry)
    return grouped


def _draw(entry: ObjectEntry, rng: np.random.Generator) -> Variation:
    low, high = np.log(SCALE_RANGE)
    overall = rng.uniform(0.6 * low, 0.6 * high)
    axes = np.exp(np.clip(overall + rng.uniform(low, high, size=3) * 0.5, low, high))
    jitter: list[tuple[str, Jitter]] = []
    for color in entry.palette_colors:
        hue, saturation, value = rng.uniform(-1, 1, size=3)
        jitter.append((color, (float(hue * HUE_JITTER), float(saturation * SATURATION_JITTER), float(value * VALUE_JITTER))))
    variation = Variation(scale=(float(axes[0]), float(axes[1]), float(axes[2])), jitter=tuple(jitter))
    if entry.recolor and rng.random() < RECOLOR_CHANCE:
        taken = {palette()[c].word for c in entry.palette_colors if c != entry.main_color}
        # Another part's colour would swallow the pattern (a label on a bottle).
        free = [c for c in base_colors() if palette()[c].word not in taken]
        variation = replace(variation, recolor=((entry.main_color, free[int(rng.integers(len(free)))]),))
    return variation


def _reworded(text: str, rename: Mapping[str, str]) -> str:
    return " ".join(rename.get(word, word) for word in text.split(" "))
