"""Section ``results``: the measurements that docs/results.md consists of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from srcli.config.base import Section

PartName = Annotated[str, Field(pattern=r"^[a-z_-]+/(pick|place|pick_place)$")]


class ResultsConfig(Section):
    """The numbers of this project: what `srcli results` measures for docs/results.md."""

    seed: int = Field(3, ge=0, description="root seed of the episodes; `seed` is that of everything else")
    episodes: int = Field(120, ge=1, le=100_000, description="scenes per part and split; repeats per case in the suite paper")
    splits: Annotated[tuple[Literal["seen", "unseen"], ...], Field(strict=False)] = Field(
        ("seen", "unseen"), min_length=1, description="splits of `parts`"
    )
    parts: Annotated[tuple[PartName, ...], Field(strict=False)] = Field(
        ("wide/pick", "wide/place", "wide/pick_place", "compositional/pick"),
        min_length=1,
        description="SUITE/TASK, each with a table of its own",
    )
    seen_only: Annotated[tuple[PartName, ...], Field(strict=False)] = Field(
        ("wide/pick", "wide/place"),
        description="SUITE/TASK again, unseen objects, with encoder weights and policies that have never met these objects",
    )
    strict: Annotated[tuple[PartName, ...], Field(strict=False)] = Field(
        ("wide/pick", "wide/place", "compositional/pick"),
        description="SUITE/TASK again, with one attempt, for the methods of `strict_methods`",
    )
    methods: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        ("sr_plus", "sr_a_plus", "base_plus", "similarity", "quality", "random", "expert", "oracle"),
        min_length=1,
        description="rows; each method that learns is followed by untrained:NAME, its control",
    )
    reference: str = Field("sr_plus", description="the row that paired differences are taken against")
    strict_methods: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        ("sr", "sr_quality", "sr_a", "base", "base_quality", "a2", "similarity", "random", "oracle"),
        min_length=1,
        description="rows of the parts `strict`, the first one their reference: the paper's networks and nothing else",
    )
