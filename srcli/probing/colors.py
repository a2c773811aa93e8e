"""What colours alone would give: the nearest catalogue instance by colour histogram, the baseline beside every encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from srcli.probing.scenes import Segmentation
from srcli.seeding import COLOUR_OFFSET, Domain, episode_seed, generator
from srcli.types import F32, U8

if TYPE_CHECKING:
    from srcli.params import Params

_CHROMA, _VALUE = 9, 4
_GRID = 3
_SPACING = 0.15
_ROUNDS = 2


def histogram(rgb: U8) -> F32:
    """Square roots of the shares of (P, 3) sRGB pixels in cells of chroma and brightness; the dot product of two of them is the
    Bhattacharyya coefficient, 1 for equal distributions.

    Chroma is the colour's offset from grey in two opponent axes, so that hue means nothing where there is hardly any.
    """
    values = rgb.reshape(-1, 3).astype(np.float32) / 255.0
    red, green, blue = values.T
    axes = np.stack([red - green, (red + green) / 2 - blue], axis=1)
    brightness = np.minimum((values.max(axis=1) * _VALUE).astype(np.int64), _VALUE - 1)
    cell = np.clip(((axes + 1) / 2 * _CHROMA).astype(np.int64), 0, _CHROMA - 1)
    index = (cell[:, 0] * _CHROMA + cell[:, 1]) * _VALUE + brightness
    counts = np.bincount(index, minlength=_CHROMA * _CHROMA * _VALUE).astype(np.float32)
    shares: F32 = np.sqrt(counts / max(float(counts.sum()), 1.0))
    return shares


def reference_histograms(params: Params, names: Sequence[str]) -> F32:
    """(len(names), B) histogram of each catalogue instance, lying alone on the table in two poses before all noisy cameras."""
    from srcli.objects import build, catalogue
    from srcli.sim import World

    pixels: dict[str, list[U8]] = {name: [] for name in names}
    per_scene = _GRID * _GRID
    with World(params.sim, robot=False) as world:
        for turn in range(_ROUNDS):
            for first in range(0, len(names), per_scene):
                group = names[first : first + per_scene]
                seed = episode_seed(params.seed, Domain.PROBE, COLOUR_OFFSET + turn * len(names) + first)
                rng = generator(seed)
                drops = np.zeros((len(group), 7))
                place = np.arange(len(group))
                drops[:, 0] = params.scene.center_x + (place // _GRID - 1) * _SPACING
                drops[:, 1] = params.scene.center_y + (place % _GRID - 1) * _SPACING
                drops[:, 3:] = rng.normal(size=(len(group), 4))
                drops[:, 3:] /= np.linalg.norm(drops[:, 3:], axis=1, keepdims=True)
                world.reset([build(catalogue()[name]) for name in group], drops)
                observation, segmentation = world.observe(rng)
                for slot, name in enumerate(group):
                    pixels[name].append(observation.rgb[segmentation == slot + 1])
    return np.stack([histogram(np.concatenate(pixels[name]) if _any(pixels[name]) else _painted(name)) for name in names])


def region_histograms(rgb: U8, segmentation: Segmentation, slots: Sequence[int]) -> F32:
    """(len(slots), B) histograms of the true masks in all views."""
    return np.stack([histogram(rgb[segmentation == slot + 1]) for slot in slots])


def _any(parts: Sequence[U8]) -> bool:
    return any(len(part) for part in parts)


def _painted(name: str) -> U8:
    """The colours that an instance is painted with, for one that rolled out of sight."""
    from srcli.objects import catalogue, palette

    colors = [palette()[color].rgb for color in catalogue()[name].palette_colors]
    return (np.array(colors) * 255).astype(np.uint8)
