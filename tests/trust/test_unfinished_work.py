"""Damaged unfinished work is done again, and that is said; what is whole is kept."""

import json

import pytest

from srcli.evaluation.journal import Journal

RECORDS = [{"key": f"k{i}", "success": i % 2 == 0, "instruction": "das rote Stück"} for i in range(5)]


@pytest.fixture()
def journal(tmp_path):
    made = Journal(tmp_path, "m", {"a": 1})
    for record in RECORDS:
        made.add(record)
    return made.path


def reopened(path):
    return Journal(path.parent, "m", {"a": 1}).records


def test_lines_come_back_as_they_were(journal, caplog):
    assert list(reopened(journal).values()) == RECORDS
    assert all(json.loads(line)["key"] for line in journal.read_text("utf-8").splitlines())
    assert not caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b"false", b"true "),
        lambda line: line.replace(b"Rote", b"rote").replace(b"rote", b"tote"),
        lambda line: b"{}\n",
        lambda line: b"[]\n",
        lambda line: b"5\n",
        lambda line: b"[" * 100_000 + b"\n",
        lambda line: line.replace(b"sha256", b"sha257"),
        lambda line: b'{"key":"k1","success":true}\n',
        lambda line: b'{"key":"k1","success":true,"sha256":"' + b"0" * 32 + b'"}\n',
        lambda line: line[:20] + b"\n" + line[20:],
        lambda line: line[:-1] + b" \n",
        lambda line: b"\xff" + line,
    ],
)
def test_a_damaged_line_alone_is_lost_and_that_is_said(journal, caplog, damage):
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[1] = damage(lines[1])
    journal.write_bytes(b"".join(lines))
    assert list(reopened(journal)) == ["k0", "k2", "k3", "k4"]
    assert "of its lines damaged; what they held is done again" in caplog.text
    caplog.clear()
    # It is gone from the file, and the episode finds its place again.
    again = Journal(journal.parent, "m", {"a": 1})
    assert not caplog.text
    again.add(RECORDS[1])
    assert {r["key"]: r for r in RECORDS} == reopened(journal)


def test_a_first_line_with_a_damaged_digest_is_not_taken_for_one_of_before_digests(journal):
    data = journal.read_bytes()
    place = data.index(b'"sha256":"') + 12
    journal.write_bytes(data[:place] + b":" + data[place + 1 :])
    assert list(reopened(journal)) == ["k1", "k2", "k3", "k4"]


@pytest.mark.parametrize("left", [1, 30, 70])
def test_a_line_cut_off_by_a_kill_is_no_damage(journal, caplog, left):
    data = journal.read_bytes()
    start = data[:-1].rindex(b"\n") + 1
    journal.write_bytes(data[: start + left])
    assert list(reopened(journal)) == ["k0", "k1", "k2", "k3"]
    assert journal.read_bytes() == data[:start] and not caplog.text


def test_lines_of_an_earlier_version_are_read_before_others(tmp_path):
    path = Journal(tmp_path, "m", {"a": 1}).path
    path.write_text('{"key":"old","success":true}\n')
    made = Journal(tmp_path, "m", {"a": 1})
    made.add(RECORDS[0])
    assert list(reopened(path)) == ["old", "k0"]
    with path.open("a") as stream:
        stream.write('{"key":"forged","success":true}\n')
    assert list(reopened(path)) == ["old", "k0"]


def test_every_flipped_bit_of_a_line_is_noticed(journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    for position in range(0, len(lines[2]) - 1, 3):
        for bit in (0, 4):
            flipped = bytearray(lines[2])
            flipped[position] ^= 1 << bit
            journal.write_bytes(b"".join([*lines[:2], bytes(flipped), *lines[3:]]))
            found = reopened(journal)
            assert [found[k] for k in ("k0", "k1", "k3", "k4")] == [RECORDS[i] for i in (0, 1, 3, 4)]
            assert "k2" not in found and len(found) == 4
