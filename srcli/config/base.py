"""The base of every section model of params.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen, strict section: unknown keys, wrong types and values out of range are refused.

    Field descriptions are the help texts; ``Field(ge=..., le=..., description=...)`` states what is allowed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
