"""What installed packages announce by entry points, loaded with errors that name the package."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from itertools import pairwise
from typing import Any

from srcli.errors import ConfigError


def announced(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, by name.

    Raises:
        ConfigError: two packages announce one name.
    """
    points = tuple(sorted(entry_points(group=group), key=lambda point: point.name))
    for one, other in pairwise(points):
        if one.name == other.name and one.value != other.value:
            raise ConfigError(
                f"'{one.name}' of {group} is announced by {package_of(one)} and by {package_of(other)}", "remove one of them"
            )
    return points


def package_of(point: EntryPoint) -> str:
    """The package that an entry point comes from, for messages."""
    distribution = getattr(point, "dist", None)
    return f"package '{distribution.name}'" if distribution is not None else "an installed package"


def load(point: EntryPoint) -> Any:
    """What an entry point names.

    Raises:
        ConfigError: it cannot be imported.
    """
    try:
        return point.load()
    except Exception as error:
        # Whatever a module of another package raises when it is imported.
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise refused(point, what) from error


def refused(point: EntryPoint, why: str) -> ConfigError:
    """The error of an entry point that cannot be used."""
    return ConfigError(
        f"{package_of(point)}: its '{point.name}' of {point.group} ({point.value}) cannot be used: {why}",
        "correct that package or uninstall it; docs/extending.md has an example",
    )
