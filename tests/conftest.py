"""Nothing of the machine's own gets into a test, and no test's objects into the next one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process has a core: threads of several that wait for each other on the same cores take many times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first: at the end, the other processes would wait for it."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


@pytest.fixture(autouse=True, scope="session")
def _no_own_objects(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An empty library of the user's objects: with one, the catalogue would hold more than is tested."""
    patch = pytest.MonkeyPatch()
    patch.setenv("SRCLI_OBJECTS", str(tmp_path_factory.mktemp("objects")))


@pytest.fixture(autouse=True)
def _included_objects_go_again() -> Iterator[None]:
    """What a test includes into the catalogue and the palette of this process."""
    from srcli.objects.catalogue import catalogue
    from srcli.objects.palette import base_colors, palette

    yield
    if len(tuple(catalogue())) != len(catalogue().names):
        for cached in (catalogue, palette, base_colors):
            cached.cache_clear()
