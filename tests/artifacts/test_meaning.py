"""Digests of code by what it does: wording and layout change nothing, everything else does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from srcli.artifacts.meaning import meaning, meaning_digest
from srcli.errors import ArtifactError

CODE = '''"""What the module is for."""

from __future__ import annotations

LIMIT = 0.5  # metres
"""How far."""


class Near(Section):
    """Something near."""

    limit: float = Field(default=0.5, ge=0.0, description="how far, metres")

    def far(self, x: float, *, more: tuple[float, ...] = (1.0, 2.0)) -> str | None:
        """Whether it is far."""
        if x > self.limit:
            return f"{x:.2f} is " "far"
        return None
'''

SAME = '''
# Another module, word by word.
from __future__ import annotations
LIMIT = (0.5)
class Near(Section):
    """Explained at
    greater length."""
    limit: float = Field(default = 0.5, ge = 0.0, description = "how far it may be, " "in metres")

    def far(
        self,
        x: float,
        *,
        more: tuple[float, ...] = (
            1.0,
            2.0,
        ),
    ) -> str | None:
        # Rather
        if (x > self.limit):
            return f'{x:.2f} is far'

        return None
'''


def test_wording_and_layout_do_not_count() -> None:
    assert meaning(CODE) == meaning(SAME)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 0.5", "LIMIT = 0.6"),
        ("LIMIT = 0.5", "LIMIT = '0.5'"),
        ("x > self.limit", "x >= self.limit"),
        ("return None", "return 0"),
        ("return None", "return"),
        ("(1.0, 2.0)", "(1, 2.0)"),
        ("ge=0.0", "ge=0.1"),
        ("ge=0.0", "gt=0.0"),
        (" is ", " was "),
        (".2f", ".3f"),
        ("def far", "def farther"),
        ("        return None\n", "            return None\n"),
    ],
)
def test_what_the_code_does_counts(old: str, new: str) -> None:
    changed = CODE.replace(old, new)
    assert changed != CODE and meaning(changed) != meaning(CODE)


def test_one_element_in_brackets_is_not_that_element() -> None:
    assert meaning("x = (a,)") != meaning("x = (a)") and meaning("f(a,)") == meaning("f(a)")


def test_every_python_gives_the_same_normal_form() -> None:
    """A digest that was taken with one version of Python holds with the others."""
    digest = hashlib.sha256(meaning(CODE).encode()).hexdigest()
    assert digest == "3774fbd7d91c20cc5aceaec15dc07abaf3ba016e9fc32112620c4bf0357a634c"


def test_files_count_with_their_names_and_others_than_python_by_the_byte(tmp_path: Path) -> None:
    one, data = tmp_path / "a" / "one.py", tmp_path / "a" / "data.yaml"
    one.parent.mkdir()
    one.write_text("x = 1\n")
    data.write_text("x: 1\n")
    first = meaning_digest([one.parent], tmp_path)
    assert first == meaning_digest([data, one, one], tmp_path)
    (one.parent / "__pycache__").mkdir()
    (one.parent / "__pycache__" / "one.pyc").write_bytes(b"1")
    one.write_text("x  =  1  # one\n")
    assert meaning_digest([one.parent], tmp_path) == first
    data.write_text("x: 1  # one\n")
    assert meaning_digest([one.parent], tmp_path) != first
    data.write_text("x: 1\n")
    one.rename(one.with_name("two.py"))
    assert meaning_digest([one.parent], tmp_path) != first
    with pytest.raises(ArtifactError, match=r"none\.py: no such file"):
        meaning_digest([tmp_path / "none.py"], tmp_path)


@pytest.mark.parametrize("content", [b"def (:\n", b"\xff = 1\n", b"a\0b\n"])
def test_what_is_no_python_for_all_its_name_counts_by_its_bytes(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "template.py"
    file.write_bytes(content)
    before = meaning_digest([file], tmp_path)
    assert meaning_digest([file], tmp_path) == before
    file.write_bytes(content + b"# another\n")
    assert meaning_digest([file], tmp_path) != before
