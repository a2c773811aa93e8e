"""A few hundred seeded damages of everything that is read: nothing ends unexpectedly, or is accepted changed.

What hangs runs into the time limit of the suite.
"""

import logging

import mutate
import pytest

SECONDS, ROUNDS = 20, 8


@pytest.mark.slow
def test_no_damage_is_accepted_and_none_is_unexpected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logging.disable(logging.WARNING)
    try:
        found = list(mutate.mutations(tmp_path / "work", SECONDS, ROUNDS))
    finally:
        logging.disable(logging.NOTSET)
    assert [row for row in found if row[2] == "unexpected"] == []
    whole = [row for row in found if row[0].endswith(("sealed", "journal", "checkpoint"))]
    assert len(whole) > 20 and [row for row in whole if row[2] == "changed"] == []
    refused = [row for row in whole if row[2] == "refused" and not row[0].endswith("journal")]
    assert len(refused) > len(whole) / 3
