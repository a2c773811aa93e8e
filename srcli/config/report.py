"""Section ``report``: what the report page replays and shows."""

from __future__ import annotations

from pydantic import Field

from srcli.config.base import Section


class ReportConfig(Section):
    """Case studies and animations of the report; its tables follow from the result files alone."""

    replay: bool = Field(default=True, description="play the case studies, methods side by side, while the page is made")
    scene: int = Field(
        default=0, ge=0, le=100_000, description="which draw of the case studies' scenes; fixed beforehand, not chosen by outcome"
    )
    animations: bool = Field(default=True, description="film the case studies")
    frames: int = Field(default=32, ge=8, le=120, description="frames of an animation")
    frame_rate: float = Field(default=8.0, gt=0.0, le=30.0, description="frames per second of an animation")
