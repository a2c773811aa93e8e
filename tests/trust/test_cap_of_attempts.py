"""Another cap of attempts: columns stop at it, and only what was measured stands in them."""

import pytest

from srcli.evaluation.statistics import Result, summarise_all, within_of
from srcli.evaluation.tables import to_markdown


def results(cap: int) -> list[Result]:
    """Twenty episodes; number i is solved at attempt i + 1, if that many are allowed."""
    return [
        Result(m, "seen", f"k{i}", f"k{i}", i < cap, min(i + 1, cap), picked=i + 1 if i < cap else 0)
        for m in ("random", "quality")
        for i in range(20)
    ]


@pytest.mark.parametrize(
    ("cap", "columns"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (15, [1, 2, 4, 8, 15])],
)
def test_columns_end_at_the_cap(cap, columns):
    assert within_of(cap) == tuple(columns)
    rows = summarise_all(results(cap), "random", resamples=50, cap=cap)
    assert rows[0].within == {k: k for k in columns} and rows[0].successes == cap
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in to_markdown(rows).splitlines()[:3]]
    shown = {head: cell for head, cell in zip(lines[0], lines[2], strict=True) if head.startswith("@")}
    assert shown == {f"@{k}": f"{100 * k / 20:.1f}" for k in columns}
