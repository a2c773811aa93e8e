"""A cache of painted scenes for the tests of pre-training."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def painted(tmp_path_factory):
    from pretraining_toys import painted_shard

    folder = tmp_path_factory.mktemp("cache")
    painted_shard(folder / "train", 20)
    for split in ("seen", "unseen"):
        painted_shard(folder / f"valid_{split}", 4, seed=1)
    return folder
