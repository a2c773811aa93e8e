"""Case files that no benchmark has: one line that names the file, within a moment."""

import os
import time

import pytest
from test_yaml_text import BOMB

from srcli.errors import ArtifactError, SrcliError
from srcli.evaluation.casefiles import namesake, read_cases_folder

OBJECT = "unseen_objects/mug.urdf 0 0 0.1 0 0 0\n"


@pytest.mark.parametrize("reference", ["/", "//", "..", "/.", "./", "\\", "/ /"])
def test_a_reference_without_a_name_is_nobody(reference):
    assert namesake(reference) is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"give me the mug\n0\n/ 0 0 0.1 0 0 0\n", "not found in the catalogue"),
        ("a.txt", b"give me the mug\n" + b"1" * 5000 + b"\nx/mug.urdf 0 0 0.1 0 0 0\n", "is out of range"),
        ("a.txt", b"give me\0the mug\n0\n/ 0 0 0.1 0 0 0\n", "a.txt:1: holds a zero byte"),
        ("a.txt", b"\xff\xfe", "not a text file in UTF-8"),
        ("a.yaml", BOMB.encode(), "not a case file: .*more than 200000 values"),
        ("a.yaml", b"cases: &a [*a]", "not a case file"),
        ("a.yaml", b"[" * 100_000, "more than 64 levels"),
        ("a.yaml", b"cases: [{name: 010, instruction: give me it}]", "valid string"),
        (
            "a.yaml",
            b"cases: [{name: a, instruction: give me it, objects: [red_bowl, banana], targets: [0], "
            b"drops: [[1e300,0,0,0,0,0], [0,0,0,0,0,0]]}]",
            "finite numbers",
        ),
    ],
)
def test_refused_in_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    start = time.monotonic()
    with pytest.raises(SrcliError, match=said) as caught:
        read_cases_folder(tmp_path)
    assert caught.value.exit_code in (3, 8) and time.monotonic() - start < 5
    assert name in caught.value.message


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(ArtifactError, match=r"a\.txt: is not a regular file"):
        read_cases_folder(tmp_path)
    with pytest.raises(ArtifactError, match="is not a regular file"):
        read_cases_folder(tmp_path / "a.txt")


def test_a_sparse_file_is_not_read(tmp_path):
    with (tmp_path / "a.txt").open("wb") as stream:
        stream.truncate(10 << 30)
    with pytest.raises(ArtifactError, match="longer than 4 MiB"):
        read_cases_folder(tmp_path)


def test_a_name_that_is_no_text(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("give me the mug\n0\n" + OBJECT)
    with pytest.raises(ArtifactError, match="its name is not UTF-8"):
        read_cases_folder(tmp_path)
