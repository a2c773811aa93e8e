"""Parameters as a commented YAML file."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel

from srcli.config.yamltext import parse_yaml
from srcli.params import Params
from srcli.params.loading import allowed

_WIDTH = 120
_QUOTED = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
"""Words that some reader of YAML takes for something else; this package's own reader is asked."""
_LIST = textwrap.TextWrapper(_WIDTH, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)


def to_yaml(params: Params) -> str:
    """All keys of ``params`` with their values, each under a comment with its description and what is allowed.

    ``load_params`` reads the text back to equal parameters.
    """
    return "\n".join(_lines(params, 0)) + "\n"


def _lines(section: BaseModel, depth: int) -> list[str]:
    indent = "  " * depth
    out: list[str] = []
    data = section.model_dump(mode="json")
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        nested = isinstance(value, BaseModel)
        if nested and depth == 0:
            out.append("")
        rule = f" ({allowed(info)})" if allowed(info) else ""
        text = (type(value).__doc__ or "").strip().splitlines()[0] if nested else f"{(info.description or '').rstrip('.')}{rule}"
        out.extend(textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   "))
        if nested:
            out.append(f"{indent}{name}:")
            out.extend(_lines(value, depth + 1))
        else:
            line = f"{indent}{name}: {_scalar(data.get(name, value))}"
            # A list goes on in the next line, which YAML allows between brackets.
            out.extend(_LIST.wrap(line) if line.endswith("]") and len(line) > _WIDTH else [line])
    return out


def _scalar(value: Any) -> str:
    # JSON is YAML; bare words read better, where YAML reads them back as the same words.
    if isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum() and value[0].isalpha():
        return value if value.lower() not in _QUOTED and parse_yaml(value, "") == value else json.dumps(value)
    return json.dumps(value)
