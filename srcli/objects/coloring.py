"""Many colours of faces become few."""

from __future__ import annotations

import numpy as np

from srcli.objects.palette import RGB, palette
from srcli.types import F64, I64

_COLORS, _LEAST_SHARE = 6, 0.03


def color_groups(colors: F64, areas: F64) -> list[tuple[RGB, I64]]:
    """Few colours for many faces: by the nearest palette colour, at most 6 groups, none below 3% of the area.

    Args:
        colors: (F, 3) sRGB 0..1.
        areas: (F,) any unit.

    Returns:
        (mean colour of the group, indices of its faces), the largest first.
    """
    if (colors == colors[0]).all():
        red, green, blue = (round(float(c), 4) for c in colors[0])
        return [((red, green, blue), np.arange(len(colors)))]
    known = np.array([color.array() for name, color in palette().items() if not name.startswith("user ")])
    weights = np.maximum(areas, 1e-12 * max(float(areas.max()), 1e-30))
    nearest = ((colors[:, None] - known[None]) ** 2).sum(axis=2).argmin(axis=1)
    shares = np.bincount(nearest, weights=weights, minlength=len(known)) / weights.sum()
    order = [int(i) for i in np.argsort(-shares, kind="stable")]
    kept = [i for i in order[:_COLORS] if shares[i] >= _LEAST_SHARE] or order[:1]
    member = np.asarray(kept)[((colors[:, None] - known[kept][None]) ** 2).sum(axis=2).argmin(axis=1)]
    groups: list[tuple[RGB, I64]] = []
    for index in kept:
        chosen = np.flatnonzero(member == index)
        if len(chosen):
            red, green, blue = (round(float(c), 4) for c in np.average(colors[chosen], axis=0, weights=weights[chosen]))
            groups.append(((red, green, blue), chosen))
    return groups
