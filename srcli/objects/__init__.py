"""The object catalogue (data) and the shapes built from it."""

from __future__ import annotations

from srcli.objects.catalogue import Catalogue, KeywordKind, ObjectEntry, catalogue, load_catalogue
from srcli.objects.model import ObjectModel, Variation, Visual, build, color_shares
from srcli.objects.palette import color_words, palette
from srcli.objects.urdf import urdf_files, write_urdf
from srcli.objects.variation import Attributes, describe, in_band, look_variation, sample_variation

__all__ = [
    "Attributes",
    "Catalogue",
    "KeywordKind",
    "ObjectEntry",
    "ObjectModel",
    "Variation",
    "Visual",
    "build",
    "catalogue",
    "color_shares",
    "color_words",
    "describe",
    "in_band",
    "load_catalogue",
    "look_variation",
    "palette",
    "sample_variation",
    "urdf_files",
    "write_urdf",
]
