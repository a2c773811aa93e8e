"""Contact sheet: one picture of every object of the catalogue, with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srcli.objects import ObjectEntry
    from srcli.types import U8

_CAPTION = 14
_INK = {"seen": (20, 20, 20), "unseen": (160, 30, 30), "user": (20, 60, 150), "named": (20, 110, 60)}


@dataclass(frozen=True, slots=True)
class Summary:
    """The picture and how many objects it shows."""

    path: Path
    objects: int


def run(entries: Sequence[ObjectEntry], out: Path, columns: int = 11, size: int = 160) -> Summary:
    """Render each entry's catalogue instance and write one PNG; names of unseen objects stand in red, those of
    the user's own outside of the splits in blue, those that are served by name alone in green.

    Args:
        entries: what to show, in this order.
        out: the picture.
        columns: objects in a row.
        size: pixels along a side of one object's picture.

    Raises:
        SceneError: there is nothing to show.
    """
    from srcli.errors import SceneError
    from srcli.objects import build
    from srcli.sim.render import contact_sheet_images

    if not entries:
        raise SceneError("no object to show", "choose another --split")
    pictures = contact_sheet_images([build(entry) for entry in entries], size)
    _save(pictures, entries, out, min(columns, len(entries)), size)
    return Summary(out, len(entries))


def _save(pictures: Sequence[U8], entries: Sequence[ObjectEntry], out: Path, columns: int, size: int) -> None:
    from PIL import Image, ImageDraw

    from srcli.artifacts.core import atomic_write

    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * size, rows * (size + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, entry) in enumerate(zip(pictures, entries, strict=True)):
        row, column = divmod(number, columns)
        left, top = column * size, row * (size + _CAPTION)
        sheet.paste(Image.fromarray(picture), (left, top))
        draw.text((left + 4, top + size + 1), entry.name, fill=_INK[entry.split])
    with atomic_write(out) as temporary:
        sheet.save(temporary, format="PNG")
