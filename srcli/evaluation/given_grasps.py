"""Grasps of the user's own, looked at before anything is played."""

from __future__ import annotations

import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from srcli.errors import ArtifactError

if TYPE_CHECKING:
    from srcli.config.candidates import CandidateConfig


@contextmanager
def reading_rows(path: Path | str) -> Iterator[None]:
    """Turn what NumPy raises on a damaged header of a ``.npy`` file, beside what is expected, into an :class:`ArtifactError`."""
    try:
        yield
    except (tokenize.TokenError, SyntaxError, MemoryError, OverflowError) as error:
        reason = str(error.args[0]) if error.args else type(error).__name__
        raise ArtifactError(f"cannot read grasps from {path}: {reason}", "expected a .npy file of numbers") from error


def check_given(config: CandidateConfig) -> None:
    """Refuse a source of grasps that cannot be used.

    Raises:
        UnknownNameError, ConfigError, ArtifactError: as :func:`srcli.actions.sources.check_source`.
    """
    from srcli.actions.sources import check_source

    with reading_rows(config.source):
        check_source(config)
