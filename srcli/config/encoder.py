"""Section ``encoder`` of params.yaml: which image-text model reads the views and the sentence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from srcli.config.base import Section

Grid = Annotated[tuple[Annotated[int, Field(ge=1, le=8)], Annotated[int, Field(ge=1, le=8)]], Field(strict=False)]
_Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Colour = Annotated[tuple[_Share, _Share, _Share], Field(strict=False)]
"""Red, green and blue, where 1 is the largest value of a channel."""


SEEN_ONLY = "seen-only"
"""The name of the package's second weights of the embedded encoder."""


class EncoderConfig(Section):
    """Which encoder, where its weights are, and how images are cut for a ViT tower."""

    name: str = Field(
        "embedded",
        min_length=1,
        description="'embedded' (shipped, works offline), an open_clip model such as 'ViT-L-14-quickgelu', or 'hf-hub:org/repo'",
    )
    pretrained: str = Field(
        "",
        description="open_clip tag ('openai') or path of a weights file; may be empty for 'embedded' and 'hf-hub:'. "
        "For 'hf-hub:' a folder with the repository's open_clip_config.json and weights. "
        "For 'embedded' also 'seen-only': weights of the package that have learned from seen objects alone",
    )
    tag: str = Field(
        "",
        description="for a ViT from a local file: the open_clip tag whose weights it holds (e.g. 'openai'), from which "
        "QuickGELU, mean and std follow. May be empty where the model's name or all of its tags say the same",
    )
    quickgelu: bool | None = Field(
        None,
        description="for a ViT from a local file of no tag: whether it was trained with QuickGELU (all OpenAI weights were)",
    )
    mean: Colour | None = Field(
        None, description="for a ViT: mean of its colours (red, green, blue; 0 to 1); null = as the tag or the hub says"
    )
    std: Colour | None = Field(None, description="for a ViT: their standard deviation; given together with mean")
    image_size: int = Field(0, ge=0, le=1024, description="side of a ViT tile in pixels; 0 = the model's own size")
    tiles: Annotated[tuple[Grid, ...], Field(strict=False, min_length=1, max_length=4)] = Field(
        ((3, 4),),
        description="ViT only: tile grids (rows, columns) per view, averaged. The embedded encoder reads the whole view",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="arithmetic of a ViT's image tower; auto = bf16 where the CPU or GPU has bf16 instructions, else fp32 on a "
        "CPU and fp16 on a GPU. The embedded encoder computes in fp32",
    )
    max_tokens: int = Field(24, ge=4, le=77, description="text tokens kept per sentence (start and end marks included)")
    cache_dir: str = Field("", description="folder of downloaded weights; empty = the hub's default cache")
    download: bool = Field(False, description="whether missing weights may be fetched from the hub")

    @model_validator(mode="after")
    def _whole(self) -> EncoderConfig:
        if (self.mean is None) != (self.std is None):
            raise ValueError("encoder.mean and encoder.std are given together or not at all")
        return self
