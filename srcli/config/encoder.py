"""Section ``encoder`` of params.yaml: which image-text model reads the views and the sentence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from srcli.config.base import Section

Grid = Annotated[tuple[Annotated[int, Field(ge=1, le=8)], Annotated[int, Field(ge=1, le=8)]], Field(strict=False)]


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
        "For 'embedded' also 'seen-only': weights of the package that have learned from seen objects alone",
    )
    quickgelu: bool | None = Field(
        None,
        description="for a ViT from a local file: whether it was trained with QuickGELU (all OpenAI weights were)",
    )
    image_size: int = Field(0, ge=0, le=1024, description="side of a ViT tile in pixels; 0 = the model's own size")
    tiles: Annotated[tuple[Grid, ...], Field(strict=False, min_length=1, max_length=4)] = Field(
        ((3, 4),),
        description="ViT only: tile grids (rows, columns) per view, averaged. The embedded encoder reads the whole view",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="arithmetic of the image tower; auto = bf16 for a ViT on a CPU with bf16 instructions, fp32 otherwise"
    )
    max_tokens: int = Field(24, ge=4, le=77, description="text tokens kept per sentence (start and end marks included)")
    cache_dir: str = Field("", description="folder of downloaded weights; empty = the hub's default cache")
    download: bool = Field(False, description="whether missing weights may be fetched from the hub")
