"""A report as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from itertools import groupby

from srcli.reporting.blocks import (
    Block,
    Cards,
    Cell,
    Chart,
    Folded,
    Gallery,
    Measure,
    Missing,
    Panel,
    Picture,
    Prose,
    Report,
    Table,
)
from srcli.reporting.style import CSS, METHOD_RULES, REASON_RULES, SCRIPT
from srcli.reporting.svg import interval_bar


def render_page(report: Report) -> str:
    """The page's text: style, script, drawings and images are inside it."""
    links = "".join(
        f'<a href="#{escape(s.anchor)}"{" class=gap" if s.missing else ""}>{escape(s.title)}</a>' for s in report.sections
    )
    sections = "".join(
        f'<section id="{escape(s.anchor)}"><h2>{escape(s.title)}</h2>{_blocks(s.blocks)}</section>' for s in report.sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{CSS}{METHOD_RULES}{REASON_RULES}</style></head>\n<body>"
        '<button id="theme" type="button">colours: auto</button><div class="wrap"><header><p class="kicker">srcli report</p>'
        f'<h1>{escape(report.title)}</h1><p class="headline">{inline(report.headline)}</p><nav>{links}</nav></header>\n'
        f"<main>{sections}</main>\n<footer>Made by <code>srcli report</code> from result files only. Rows in italics are numbers "
        'that others published.</footer></div><dialog id="zoom"><img src="data:," alt=""></dialog>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def inline(text: str) -> str:
    """`code`, **strong** and _emphasis_ as HTML; everything else is escaped."""
    codes: list[str] = []

    def keep(match: re.Match[str]) -> str:
        codes.append(f"<code>{escape(match[1])}</code>")
        return f"\0{len(codes) - 1}\0"

    safe = escape(re.sub(r"`([^`]+)`", keep, text.replace("\0", "")), quote=False)
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    safe = re.sub(r"(?<!\w)_([^_]+)_(?!\w)", r"<em>\1</em>", safe)
    return re.sub(r"\0(\d+)\0", lambda match: codes[int(match[1])], safe)


def _blocks(blocks: Sequence[Block]) -> str:
    """Blocks one under the other; neighbouring charts stand side by side where there is room."""
    parts = []
    for together, group in groupby(blocks, key=lambda block: isinstance(block, Chart) and not block.wide):
        text = "".join(_block(block) for block in group)
        parts.append(f'<div class="charts">{text}</div>' if together else text)
    return "".join(parts)


def _block(block: Block) -> str:
    if isinstance(block, Prose):
        return f"<p>{inline(block.text)}</p>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Missing):
        return f'<div class="missing"><b>Not there yet.</b> {inline(block.what)} Run <code>{escape(block.command)}</code></div>'
    if isinstance(block, Chart):
        return f"<figure>{block.svg}<figcaption>{inline(block.caption)}</figcaption></figure>"
    if isinstance(block, Picture):
        return f'<figure class="plain">{_image(block)}<figcaption>{inline(block.caption)}</figcaption></figure>'
    if isinstance(block, Gallery):
        panels = "".join(_panel(panel) for panel in block.panels)
        head = f"<h3>{escape(block.title)}</h3><p>{inline(block.lead)}</p>"
        return f'<div class="study">{head}<div class="panels">{panels}</div></div>'
    if isinstance(block, Cards):
        cards = "".join(
            f'<div class="card"><span class="of">{escape(label)}</span><b>{escape(number)}</b>'
            f"<small>{inline(under)}</small></div>"
            for label, number, under in block.cards
        )
        return f'<div class="cards">{cards}</div>'
    return _folded(block)


def _folded(block: Folded) -> str:
    return f"<details><summary>{escape(block.summary)}</summary>{_blocks(block.blocks)}</details>"


def _table(table: Table) -> str:
    words = table.left
    head = "".join(f'<th scope="col"{" class=w" if i < words else ""}>{inline(h)}</th>' for i, h in enumerate(table.headers))
    body = []
    for row in table.rows:
        if row.kind == "group":
            body.append(f'<tr class="group"><td class="w" colspan="{len(table.headers)}">{_cell(row.cells[0])}</td></tr>')
            continue
        cells = "".join(f"<td{' class=w' if i < words else ''}>{_cell(cell)}</td>" for i, cell in enumerate(row.cells))
        body.append(f"<tr{'' if row.kind == 'ours' else f' class={row.kind}'}>{cells}</tr>")
    note = f'<p class="note">{inline(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll"><table><caption>{inline(table.caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note}"
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, Measure):
        bar = interval_bar(cell)
        return f'<span class="m">{inline(cell.text)}{bar}</span>' if bar else inline(cell.text)
    # Drawings made here come as SVG; every other text is escaped.
    return cell if cell.startswith("<svg ") else inline(cell)


def _image(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode("ascii")
    return f'<img class="zoom" loading="lazy" src="data:{picture.mime};base64,{data}" alt="{escape(picture.alt)}">'


def _panel(panel: Panel) -> str:
    tone = "" if panel.good is None else " good" if panel.good else " bad"
    facts = "".join(f"<li>{inline(fact)}</li>" for fact in panel.facts)
    pictures = "".join(
        f"<figure>{_image(p)}{f'<figcaption>{inline(p.caption)}</figcaption>' if p.caption else ''}</figure>"
        for p in panel.pictures
    )
    return (
        f'<div class="panel"><div class="top"><span class="verdict{tone}">{escape(panel.verdict)}</span>'
        f'<span class="name">{escape(panel.title)}</span><ul>{facts}</ul></div>{pictures}</div>'
    )
