"""Section ``scene``: what an episode's scene is made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from srcli.config.base import Section


class SceneConfig(Section):
    """Scenes of all tasks. Counts and drop areas follow the benchmark of A2."""

    objects: int = Field(default=15, ge=1, le=40, description="objects in a scene")
    targets_seen: int = Field(
        default=2, ge=1, le=10, description="targets placed in a seen scene when more than `all_targets` objects fit the sentence"
    )
    targets_unseen: int = Field(default=3, ge=1, le=10, description="the same for an unseen scene")
    all_targets: int = Field(default=3, ge=1, le=10, description="up to this many fitting objects are all placed")
    center_x: float = Field(default=0.5, ge=-1.0, le=1.0, description="centre of the drop area in x, metres")
    center_y: float = Field(default=0.0, ge=-1.0, le=1.0, description="centre of the drop area in y, metres")
    half_width: float = Field(
        default=0.124,
        gt=0.0,
        le=0.3,
        description="half the side of the square drop area, metres (workspace shrunk by 0.1 on each side)",
    )
    drop_height: float = Field(
        default=0.2, gt=0.0, le=1.0, description="nominal drop height, metres; the world spawns just above the pile"
    )
    library: Literal["none", "add", "only"] = Field(
        default="none",
        description="objects of your library (split user) in generated scenes: none; add: beside those of the split; only: alone",
    )
    place_objects: int = Field(default=8, ge=1, le=20, description="objects in the zone where something is placed")
    place_spacing: float = Field(
        default=0.1, ge=0.0, le=0.3, description="least distance between the drop positions of these objects, metres"
    )
    place_half_width: float = Field(
        default=0.15, ge=0.05, le=0.3, description="half the side of the square that they are dropped in, metres"
    )

    @model_serializer(mode="wrap")
    def _recorded(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Scenes without the library are recorded as they were before there was one.
        values: dict[str, Any] = handler(self)
        if values.get("library") == "none":
            del values["library"]
        return values
