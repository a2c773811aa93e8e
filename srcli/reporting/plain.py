"""A report as Markdown: all words and numbers; drawings and pictures are on the page.

Markdown shows HTML and links as such: what a file or a name holds of them is written so that it shows as text.
"""

from __future__ import annotations

import re

from markupsafe import Markup

from srcli.evaluation.tables import as_text
from srcli.reporting.blocks import Block, Cards, Cell, Chart, Gallery, Measure, Missing, Picture, Prose, Report, Table


def render_markdown(report: Report, page: str) -> str:
    """The Markdown text.

    Args:
        page: name of the HTML file, where the pictures are.
    """
    parts = [f"# {report.title}", as_text(report.headline), f"Drawings, case studies and animations: [{page}]({page})."]
    for section in report.sections:
        parts.append(f"## {as_text(section.title)}")
        parts.extend(text for block in section.blocks if (text := _block(block)))
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Prose):
        return as_text(block.text)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Missing):
        return f"> **Not there yet.** {as_text(block.what)} Run `{block.command}`"
    if isinstance(block, Chart | Picture):
        return f"_Figure: {as_text(block.caption)}_" if block.caption else ""
    if isinstance(block, Gallery):
        said = [f"- **{p.title}**: {p.verdict}. {' '.join(f'{fact}.' for fact in p.facts)}".rstrip() for p in block.panels]
        return "\n".join([f"### {as_text(block.title)}", "", as_text(block.lead), "", *map(as_text, said)])
    if isinstance(block, Cards):
        return "\n".join(as_text(f"- {label}: **{number}** ({under})") for label, number, under in block.cards)
    return "\n\n".join([f"**{as_text(block.summary)}**", *(text for inner in block.blocks if (text := _block(inner)))])


def _table(table: Table) -> str:
    width = len(table.headers)
    lines = [
        f"**{_escape(table.caption)}**",
        "",
        "| " + " | ".join(_escape(h) for h in table.headers) + " |",
        "|" + "|".join("---" if i < table.left else "---:" for i in range(width)) + "|",
    ]
    for row in table.rows:
        cells = [_cell(cell) for cell in row.cells]
        if row.kind == "group":
            cells = [f"**{cells[0]}**"] + [""] * (width - 1)
        elif row.kind == "theirs":
            cells = [f"_{cell}_" if cell else "" for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    if table.note:
        lines += ["", as_text(table.note)]
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Measure):
        return _escape(cell.text)
    if isinstance(cell, Markup):
        return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", cell))
    return _escape(cell)


def _escape(text: str) -> str:
    return as_text(text).replace("|", "\\|").replace("**", "")
