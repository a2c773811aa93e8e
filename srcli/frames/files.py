"""Images and tables of a recording, read with one line that says what is wrong with them."""

from __future__ import annotations

import json
import math
import tokenize
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srcli.errors import ArtifactError
from srcli.types import F64, U8

U16 = npt.NDArray[np.uint16]

_VIDEO = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".bag", ".mcap", ".db3")
_COLOUR_MODES = ("RGB", "RGBA", "L", "P")
#: Noise compresses badly: a higher level takes several times as long for next to nothing.
_LEVEL = 2
_DEPTH_MODES = ("I;16", "I;16B", "I;16L", "I")


def _image(path: Path, what: str) -> Any:
    """An opened and wholly decoded image."""
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise ArtifactError(f"{path}: no {what} there{_beside(path)}", _advice(path, what))
    try:
        image = Image.open(path)
        image.load()
    # Damaged files end in whatever exception the decoder at hand has.
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        if isinstance(error, UnidentifiedImageError):
            raise ArtifactError(f"{path}: is no image", _advice(path, what)) from error
        raise ArtifactError(f"{path}: is truncated or damaged ({_line(error)})", "record or copy it again") from error
    return image


def _beside(path: Path) -> str:
    """What is there under the same name, if anything."""
    found = sorted(p.name for p in path.parent.glob(f"{escape(path.stem)}.*")) if path.parent.is_dir() else []
    return f", but {', '.join(found[:3])}" if found else ""


def _advice(path: Path, what: str) -> str:
    suffixes = {p.suffix.lower() for p in path.parent.glob(f"{escape(path.stem)}.*")} if path.parent.is_dir() else set()
    if suffixes & set(_VIDEO):
        return "take single frames out of a video or bag first: PNG files (docs/frames.md)"
    return f"every camera has a PNG file as {what} (docs/frames.md)"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def read_colour(path: Path) -> U8:
    """(H, W, 3) uint8 colours of an image file.

    Raises:
        ArtifactError: no such file, damaged, or no colour image.
    """
    image = _image(path, "colour image")
    if image.mode not in _COLOUR_MODES:
        raise ArtifactError(
            f"{path}: holds '{image.mode}' pixels, not colours", "is it the depth? 8-bit RGB is expected as colour image"
        )
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def read_depth(path: Path) -> U16:
    """(H, W) uint16 depth of an image file, in the recording's unit; 0 where there is no return.

    Raises:
        ArtifactError: no such file, damaged, or not of 16 bits.
    """
    image = _image(path, "depth image")
    if image.mode not in _DEPTH_MODES:
        held = {"L": "8-bit grey", "P": "8-bit palette", "1": "1-bit", "RGB": "colour"}.get(image.mode, f"'{image.mode}'")
        raise ArtifactError(
            f"{path}: holds {held} pixels, no depth of 16 bits",
            "write depth as a 16-bit PNG with one channel; a picture for viewing cannot be turned back into depth",
        )
    values = np.asarray(image)
    if values.min(initial=0) < 0 or values.max(initial=0) > np.iinfo(np.uint16).max:
        raise ArtifactError(f"{path}: holds depths beyond 16 bits", "write depth as a 16-bit PNG with one channel")
    return values.astype(np.uint16)


def write_colour(path: Path, rgb: U8) -> None:
    """A PNG file of (H, W, 3) uint8."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, compress_level=_LEVEL)


def write_depth(path: Path, depth: U16) -> None:
    """A 16-bit PNG file of (H, W) uint16."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(depth).save(path, compress_level=_LEVEL)


def read_json(path: Path) -> Any:
    """What a JSON file holds. NaN and Infinity are read as such: the checks behind name where they are.

    Raises:
        ArtifactError: no such file, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file", "docs/frames.md says what a folder of frames holds") from None
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path}: line {error.lineno}: not JSON: {error.msg}", "write it again") from None
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise ArtifactError(f"{path}: not JSON: {_line(error)}", "write it again") from None


def read_array(path: Path, shape: tuple[int | None, ...]) -> F64:
    """A finite array of numbers from a ``.npy`` file.

    Args:
        shape: its expected shape; None stands for any length.

    Raises:
        ArtifactError: no such file, damaged, of another shape, or not finite.
    """
    try:
        with open(path, "rb") as handle:
            array = np.lib.format.read_array(handle, allow_pickle=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file", "docs/frames.md says what a scene of this format holds") from None
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, OverflowError, tokenize.TokenError) as error:
        raise ArtifactError(f"{path}: cannot be read: {_line(error)}", "a .npy file of numbers is expected") from error
    return matrix(array, shape, str(path))


def positive(value: object, where: str, hint: str) -> float:
    """A number above 0.

    Raises:
        ArtifactError: anything else; names what is there.
    """
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and number > 0):
        raise ArtifactError(f"{where} is {value!r}", hint)
    return number


def matrix(value: object, shape: tuple[int | None, ...], where: str) -> F64:
    """A finite float64 array of a shape, from nested lists or an array.

    Raises:
        ArtifactError: anything else; names what is there.
    """
    said = " x ".join("N" if size is None else str(size) for size in shape)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArtifactError(f"{where}: is not {said} numbers", "write rows of numbers, all of one length") from None
    fits = array.ndim == len(shape) and all(s in (None, t) for s, t in zip(shape, array.shape, strict=True))
    if not fits:
        found = " x ".join(str(size) for size in array.shape) or "a single number"
        raise ArtifactError(f"{where}: is {found}, expected {said} numbers", "write it row by row")
    if not bool(np.isfinite(array).all()):
        raise ArtifactError(f"{where}: holds NaN or infinity", "a camera whose calibration failed has to be left out")
    return array
