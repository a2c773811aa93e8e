"""Section ``language``: how sentences are worded and read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from srcli.config.base import Section


class LanguageConfig(Section):
    """Wording of generated sentences, and how any sentence is read. Template probabilities belong to the templates themselves."""

    synonym_share: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="share of held-out sentences in which the keyword is replaced by a synonym, if it has one",
    )
    spelling: Literal["on", "off"] = Field(
        default="on",
        description="read words that the encoder has never read as the known ones that are meant (typing errors, plurals, words "
        "written apart or together); encoders without a declared vocabulary take every sentence as it is",
    )
