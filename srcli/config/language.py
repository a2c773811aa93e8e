"""Section ``language``: how sentences are worded."""

from __future__ import annotations

from pydantic import Field

from srcli.config.base import Section


class LanguageConfig(Section):
    """Wording of generated sentences. The template probabilities belong to the templates themselves."""

    synonym_share: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="share of held-out sentences in which the keyword is replaced by a synonym, if it has one",
    )
