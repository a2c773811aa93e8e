"""The first rounds of seeded damage to everything that is read: nothing ends unexpectedly, or is accepted changed.

A fixed number of rounds, so that every machine makes the same damage; ``mutate.py`` goes on from there.
"""

import logging

import mutate
import pytest

ROUNDS = 6


@pytest.mark.slow
def test_no_damage_is_accepted_and_none_is_unexpected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logging.disable(logging.WARNING)
    try:
        found = list(mutate.mutations(tmp_path / "work", 0.0, ROUNDS))
    finally:
        logging.disable(logging.NOTSET)
    assert [row for row in found if row[2] == "unexpected"] == []
    whole = [row for row in found if row[0].endswith(("sealed", "journal", "checkpoint"))]
    assert len(whole) > 20 and [row for row in whole if row[2] == "changed"] == []
    refused = [row for row in whole if row[2] == "refused" and not row[0].endswith("journal")]
    assert len(refused) > len(whole) / 3
