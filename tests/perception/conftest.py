"""A cache of painted scenes for the tests of pre-training."""

from __future__ import annotations

import pytest
from pretraining_toys import painted_shard


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    painted_shard(folder / "train", 20)
    for split in ("seen", "unseen"):
        painted_shard(folder / f"valid_{split}", 4, seed=1)
    return folder
