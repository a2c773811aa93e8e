"""Colours by name, and the one word each is called by in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

import numpy as np
from pydantic import Field, TypeAdapter

from srcli.objects.parts import Data, Vec3
from srcli.types import F64

RGB = tuple[float, float, float]
"""sRGB in 0..1."""
GREY: RGB = (0.6, 0.6, 0.6)
"""What has no colour of its own."""


class Color(Data):
    """A colour: sRGB in 0..1, its everyday word, and whether instances may be recoloured to it."""

    rgb: Vec3
    word: str = Field(min_length=1)
    base: bool = False

    def array(self) -> F64:
        """(3,) sRGB."""
        return np.asarray(self.rgb, dtype=np.float64)


@lru_cache(maxsize=1)
def palette() -> Mapping[str, Color]:
    """All colours by name, in file order."""
    import yaml

    text = resources.files("srcli.objects").joinpath("data/palette.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Color]).validate_python(yaml.safe_load(text))


@lru_cache(maxsize=1)
def base_colors() -> tuple[str, ...]:
    """Names of the colours that instances may be recoloured to."""
    return tuple(name for name, color in palette().items() if color.base)


def color_words() -> frozenset[str]:
    """Every word that names a colour."""
    return frozenset(color.word for color in palette().values())
