"""A few hundred seeded damages of everything that is read: nothing ends unexpectedly, hangs, or is accepted changed."""

import logging

import mutate
import pytest

SECONDS = 20


@pytest.mark.slow
def test_no_damage_is_accepted_and_none_is_unexpected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logging.disable(logging.WARNING)
    try:
        found = list(mutate.mutations(tmp_path / "work", SECONDS))
    finally:
        logging.disable(logging.NOTSET)
    bad = [row for row in found if row[2] in ("unexpected", "slow")]
    assert bad == []
    whole = [row for row in found if row[0].endswith(("sealed", "journal", "checkpoint"))]
    assert len(whole) > 20 and [row for row in whole if row[2] == "changed"] == []
    refused = [row for row in whole if row[2] == "refused" and not row[0].endswith("journal")]
    assert len(refused) > len(whole) / 3
