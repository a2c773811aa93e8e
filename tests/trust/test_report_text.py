"""Names and sentences in a report are text: no markup of theirs runs in the page, none shows in the Markdown file."""

import re

import subjects  # noqa: F401, makes the next module be found
from markupsafe import Markup
from report_inputs import TOP, described, evaluation

from srcli.evaluation.tables import as_text
from srcli.reporting.blocks import (
    Cards,
    Chart,
    Folded,
    Gallery,
    Measure,
    Missing,
    Panel,
    Picture,
    Prose,
    Report,
    Row,
    Section,
    Table,
)
from srcli.reporting.compose import compose
from srcli.reporting.page import inline, render_page
from srcli.reporting.plain import render_markdown
from srcli.reporting.result_files import gather
from srcli.reporting.svg import Axes, Dot, Series, interval_chart, line_chart, stacked_bars, strip

EVIL = "<svg onload=alert(document.domain)>.txt"
TRICKS = (
    EVIL,
    "</title><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "`<img src=x onerror=alert(1)>",
    "[a](javascript:x)",
)


def report(evil: str) -> Report:
    axes = Axes(evil, evil, (1, 2), (0, 5), (1, 2), (0, 5))
    rows = (
        Row((evil, Measure(evil, 0.5, 0.2, 0.8))),
        Row((strip([(1, 2)]), evil)),
        Row((evil,), "group"),
        Row((evil, ""), "theirs"),
    )
    picture = Picture(b"abc", evil, evil)
    blocks = (
        Prose(evil),
        Table(evil, (evil, evil), rows, note=evil),
        Chart(line_chart([Series(evil, [1, 2], [3, 4], 0)], axes), evil),
        Chart(interval_chart([(evil, [(evil, [[Dot(1, 0, 2, 0)]])])], [evil], evil), evil),
        Chart(stacked_bars([(evil, 3, [(evil, 2)])]), evil, wide=True),
        picture,
        Gallery(evil, evil, (Panel(evil, evil, True, (evil,), (picture,)),)),
        Cards(((evil, evil, evil),)),
        Folded(evil, (Prose(evil),)),
        Missing(evil, evil),
    )
    return Report(evil, evil, (Section(evil, evil, blocks),))


def tags(page: str) -> list[str]:
    return re.findall(r"<[a-zA-Z][^>]*", page)


def test_no_name_becomes_markup_on_the_page():
    plain = [re.sub(r'"[^"]*"', '""', tag) for tag in tags(render_page(report("x")))]
    for evil in TRICKS:
        found = [re.sub(r'"[^"]*"', '""', tag) for tag in tags(render_page(report(evil)))]
        # `code` of a text may become an element; nothing else may.
        assert [t for t in found if t != "<code"] == [t for t in plain if t != "<code"], evil


def test_no_name_becomes_markup_in_markdown():
    for evil in TRICKS:
        text = re.sub(r"`[^`\n]*`", "", render_markdown(report(evil), "p.html")).replace("[p.html](p.html)", "")
        assert not re.search(r"<[a-zA-Z/!]", text.partition("\n")[2]), evil
        assert "](" not in text.partition("\n")[2]


def test_names_in_a_results_file_are_text(tmp_path):
    names = {TOP: described(TOP), EVIL: {**described(TOP), "method": EVIL, "title": EVIL}}
    wins = {(TOP, "pick", "seen"): 3, (EVIL, "pick", "seen"): 1}
    results = gather([evaluation(tmp_path / "results.h5", wins, n=4, methods=names)])
    made = compose(results, Section("Cases", "", ()))
    page, text = render_page(made), render_markdown(made, "p.html")
    assert "onload=alert" in page and not re.search(r"<svg[^>]*onload", page)
    assert not re.search(r"<svg[^>]*onload", re.sub(r"`[^`\n]*`", "", text))


def test_only_drawings_of_this_package_are_markup():
    drawing = strip([(1, 2)])
    assert isinstance(drawing, Markup) and inline(drawing) is drawing
    assert "<svg" not in inline("<svg width=1></svg>")
    assert as_text("p <0.001, `<b>` and <b>\nnext") == "p <0.001, `<b>` and &lt;b> next"
