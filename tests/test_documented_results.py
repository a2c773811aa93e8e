"""The numbers that stand in the documents are those of this package, and stand there as they were measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srcli.errors import ArtifactError
from srcli.studies.results import DATA, PAGE, load
from srcli.studies.results.age import outdated
from srcli.studies.results.page import page, readme_table, with_table

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    try:
        return load(ROOT / "docs" / DATA)
    except ArtifactError as error:
        pytest.fail(f"{error.message}; {error.hint}", pytrace=False)


def test_no_number_is_older_than_what_it_stands_on(data: dict[str, Any]) -> None:
    lines = outdated(data)
    if lines:
        pytest.fail("docs/results.json: " + "\n".join(lines), pytrace=False)


def test_the_page_is_that_of_the_record(data: dict[str, Any]) -> None:
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    assert text == page(data), "docs/results.md is not made of docs/results.json: write it with `srcli results --write`"


def test_the_table_of_the_readme_is_that_of_the_record(data: dict[str, Any]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    told = "the table of README.md is not made of docs/results.json: write it with `srcli results --write`"
    assert text == with_table(text, readme_table(data), "README.md"), told
