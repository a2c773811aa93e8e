"""A report as one HTML page that needs no other file. Whatever a file or a name holds is shown as text (jinja2, autoescape)."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from importlib.resources import files
from itertools import groupby

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from srcli.reporting.blocks import Block, Chart, Report
from srcli.reporting.style import CSS, METHOD_RULES, REASON_RULES, SCRIPT
from srcli.reporting.svg import interval_bar


def render_page(report: Report) -> str:
    """The page's text: style, script, drawings and images are inside it."""
    style, script = Markup(CSS + METHOD_RULES + REASON_RULES), Markup(SCRIPT)
    return _template().render(report=report, style=style, script=script) + "\n"


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= {
        "inline": inline,
        "bar": interval_bar,
        "neighbours": _neighbours,
        "base64": lambda data: base64.b64encode(data).decode("ascii"),
    }
    environment.tests["of"] = lambda block, kind: type(block).__name__ == kind
    return environment.from_string((files("srcli") / "reporting" / "page.html.jinja").read_text("utf-8"))


def inline(text: str) -> Markup:
    """`code`, **strong** and _emphasis_ as HTML; everything else is escaped, but for drawings of this package."""
    if isinstance(text, Markup):
        return text
    codes: list[str] = []

    def keep(match: re.Match[str]) -> str:
        codes.append(f"<code>{escape(match[1])}</code>")
        return f"\0{len(codes) - 1}\0"

    safe = escape(re.sub(r"`([^`]+)`", keep, text.replace("\0", "")), quote=False)
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    safe = re.sub(r"(?<!\w)_([^_]+)_(?!\w)", r"<em>\1</em>", safe)
    return Markup(re.sub(r"\0(\d+)\0", lambda match: codes[int(match[1])], safe))


def _neighbours(blocks: Sequence[Block]) -> list[tuple[bool, list[Block]]]:
    """Blocks that follow one another, charts that may stand side by side together."""
    grouped = groupby(blocks, key=lambda block: isinstance(block, Chart) and not block.wide)
    return [(together, list(group)) for together, group in grouped]
