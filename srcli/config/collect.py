"""Section ``collect`` of params.yaml: how many demonstrations, of what, and by which workers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from srcli.config.base import Section


class CollectConfig(Section):
    """Collection of demonstrations by the privileged expert."""

    task: str = Field("pick", description="task that is demonstrated: pick, place or pick_place")
    episodes: int = Field(
        600,
        ge=1,
        le=1_000_000,
        description="episodes to run; those with a success give one demonstration per phase (the paper collects 5000)",
    )
    split: Literal["seen", "unseen"] = Field(
        "seen", description="objects that scenes are made of; unseen ones are for tests only"
    )
    wording: Literal["train", "heldout"] = Field(
        "train", description="group of sentence templates and synonyms; heldout is for tests only"
    )
    compositional: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="share of the episodes of task pick that have a compositional sentence ('the cup next to the box')",
    )
    max_attempts: int = Field(8, ge=1, le=50, description="attempts per episode before it is given up")
    valid_every: int = Field(10, ge=2, le=1000, description="every n-th episode is kept for validation")
    next_obs: bool = Field(
        False, description="also keep what the cameras see after the last attempt, as key next_obs of robomimic's readers"
    )
    executor: Literal["processes", "serial", "ray"] = Field(
        "processes", description="who does the work; the result does not depend on it (ray needs the extra 'ray')"
    )
