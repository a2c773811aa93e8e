"""Nothing of the machine's own gets into a test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _no_own_objects(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An empty library of the user's objects: with one, the catalogue would hold more than is tested."""
    patch = pytest.MonkeyPatch()
    patch.setenv("SRCLI_OBJECTS", str(tmp_path_factory.mktemp("objects")))
