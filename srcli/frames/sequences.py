"""Which images of a long recording are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from srcli.errors import ArtifactError

#: So many images are taken of a recording, unless it has few or they are named.
VIEWS, FEW = 3, 4
_DIGITS = 18


def is_number(text: str) -> bool:
    """Whether a text is a number that an image may have."""
    return text.isdecimal() and len(text) <= _DIGITS


def chosen(numbers: Sequence[int], wanted: Sequence[str], where: str) -> tuple[list[int], str]:
    """Numbers of the images to use: the wanted ones, all of few, or some spread over many; and what to tell about it.

    Raises:
        ArtifactError: a wanted image is not there.
    """
    if wanted:
        picked = []
        for text in wanted:
            if not is_number(text) or int(text) not in numbers:
                raise ArtifactError(
                    f"{where}: no image '{text}'", f"there are {len(numbers)}, from {min(numbers)} to {max(numbers)}"
                )
            picked.append(int(text))
        return list(dict.fromkeys(picked)), ""
    if len(numbers) <= FEW:
        return list(numbers), ""
    taken = [numbers[i * len(numbers) // VIEWS] for i in range(VIEWS)]
    listed = ", ".join(map(str, taken))
    return taken, f"images {listed} of {len(numbers)} are used; --camera NUMBER names others"
