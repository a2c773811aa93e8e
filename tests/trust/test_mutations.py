"""The first rounds of seeded damage to everything that is read: nothing ends unexpectedly, or is accepted changed.

A fixed number of rounds, so that every machine makes the same damage; ``mutate.py`` goes on from there.
"""

import logging

import mutate
import pytest
from outcomes import Bench

ROUNDS = 6


@pytest.mark.slow
def test_no_damage_is_accepted_and_none_is_unexpected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path / "work")
    logging.disable(logging.WARNING)
    try:
        keys = ("subject", "number", "outcome", "words")
        found = [dict(zip(keys, row, strict=True)) for row in bench.rounds(ROUNDS)]
    finally:
        logging.disable(logging.NOTSET)
    assert len(found) == ROUNDS * len(bench.subjects) > 150
    # Slow on one machine is not slow on another.
    assert [row for row in found if mutate.is_wrong(row) and row["outcome"] != "slow"] == []
    whole = [row for row in found if row["subject"].endswith("sealed")]
    assert sum(row["outcome"] == "refused" for row in whole) > len(whole) / 2
