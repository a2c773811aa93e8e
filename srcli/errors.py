"""Errors that a person reads: one line of what and where, one line of what to do, a distinct exit code.

Exit codes: 0 ok, 1 unexpected failure, 2 usage or configuration, 3 file missing or invalid, 4 weights or assets missing,
5 file valid but made for something else, 6 disk or permission, 7 output in use, 8 unknown name, 9 scene or data unusable,
130 interrupted, 143 terminated (work kept).
"""

from __future__ import annotations


class SrcliError(Exception):
    """Base of every error that the user can act on.

    Args:
        message: what is wrong, and where.
        hint: what to do about it; empty when the message says it already.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries: the default reduction would lose the hint.
        return (type(self), (self.message, self.hint))


class ConfigError(SrcliError):
    """A value in params.yaml or on the command line is unknown, of the wrong type or out of range."""

    exit_code = 2


class ArtifactError(SrcliError):
    """A file is missing, truncated, foreign, of another schema version, or breaks its contract."""

    exit_code = 3


class MissingAssetError(SrcliError):
    """Weights or assets that have to be supplied are not there."""

    exit_code = 4


class MismatchError(SrcliError):
    """A valid file was made for something else: another encoder, another configuration."""

    exit_code = 5


class DiskError(SrcliError):
    """The disk is full or the place is not writable. What was complete is kept."""

    exit_code = 6


class BusyError(SrcliError):
    """Another run is writing the same output."""

    exit_code = 7


class UnknownNameError(SrcliError):
    """No object, method, encoder, task or suite of that name."""

    exit_code = 8


class SceneError(SrcliError):
    """A scene or data set cannot be used: a view missing, NaN depth, no candidate, no demonstration."""

    exit_code = 9


def unknown_name(kind: str, name: str, known: object) -> UnknownNameError:
    """An :class:`UnknownNameError` that lists what is known and the closest spelling."""
    import difflib

    names = sorted(str(n) for n in known)  # type: ignore[attr-defined]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return UnknownNameError(f"unknown {kind} '{name}'", f"{hint}known: {shown}")
