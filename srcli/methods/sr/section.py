"""Section ``model``: the network that scores candidates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from srcli.config.ablate import Variant
from srcli.config.base import Section
from srcli.config.noise import Sparse

Switch = Literal["auto", "on", "off"]


class Stage1Config(Section):
    """1-Align: language to points."""

    direction: Literal["text_query", "point_query"] = Field(
        "text_query",
        description="who asks in 1-Align: text_query (the paper's wording) or point_query (points ask the tokens)",
    )
    write_back: Literal["mask+text", "mask"] = Field(
        "mask+text",
        description=(
            "what 1-Align writes on the points: the masked value only, or also the attended tokens (the "
            "paper does not state this)"
        ),
    )
    similarity_gain: float = Field(
        3.0,
        ge=0.0,
        le=100.0,
        description="initial weight of the similarity map as a bias on the 1-Align logits (the paper does not state this)",
    )


class DSSAConfig(Section):
    """Deep sparse self-attention (variant sr); sr_a is the same encoder with ordinary attention."""

    branch: Literal["both", "dense", "sparse"] = Field(
        "both", description="branches that are computed: both (the paper), the dense softmax alone, or the sparse one alone"
    )
    sparse: Sparse = Field("relu2", description="sparse branch: softmax, relu or relu2 (squared ReLU, the paper's)")
    sparse_norm: Literal["rms", "count", "none"] = Field(
        "rms",
        description=(
            "normalisation of the sparse branch's output: rms, count (divide by the number of points) or "
            "none (the paper does not state this)"
        ),
    )
    dense_conv: Literal["none", "dw3"] = Field(
        "none",
        description=(
            "convolution on the dense branch's scores: none or a depth-wise 3x3 (the paper names one without stating its form)"
        ),
    )
    position_rank: int = Field(
        8,
        ge=0,
        le=64,
        description="waves in the learned relative-position bias B; 0 switches B off (the paper does not state the form of B)",
    )

    @model_validator(mode="after")
    def _convolution_has_a_branch(self) -> DSSAConfig:
        if self.dense_conv != "none" and self.branch == "sparse":
            raise ValueError("dense_conv acts on the dense branch, which branch = sparse switches off")
        return self


class EncoderBlockConfig(Section):
    """The self-attention encoder between the stages."""

    place: Literal["points", "actions"] = Field(
        "points",
        description=(
            "where self-attention runs: points (candidates stay independent) or actions (across candidates, after 2-Align)"
        ),
    )
    layers: int = Field(1, ge=0, le=12, description="layers of the self-attention encoder (the paper: 1)")
    expansion: int = Field(
        2, ge=1, le=8, description="width of its feed-forward relative to the model (the paper does not state this)"
    )


class Stage2Config(Section):
    """2-Align: candidates to points."""

    locality: Switch = Field(
        "auto",
        description=(
            "learned bias towards points near a candidate's tip, in its tool frame (the paper does not "
            "state this); auto = off for a2 only"
        ),
    )
    locality_scale: float = Field(
        0.025, gt=0.001, le=0.5, description="metres, initial radius of that bias; heads start between 0.6 and 1.6 times it"
    )
    quality: Switch = Field(
        "auto",
        description="the prior's quality is an input of the candidate (the paper does not state this); auto = off for a2 only",
    )
    readout: Switch = Field(
        "auto",
        description=(
            "the score starts as the similarity (and mask) read around the candidate's tip (the paper does not state this); "
            "auto = off for a2 only"
        ),
    )
    mask: Literal["on", "off"] = Field(
        "on",
        description="whether 1-Align's semantic mask reaches 2-Align (variants that have one); off leaves its write-back",
    )
    rings: Switch = Field(
        "auto",
        description=(
            "each candidate also reads the cloud in rings of 0 to 20 cm around it, so that relations can be scored (the paper "
            "does not state this); auto = off for a2 only"
        ),
    )
    words: Literal["on", "off"] = Field(
        "on",
        description=(
            "the sentence's tokens weigh what the rings read (variants with 1-Align; the others have no language stage, so their "
            "rings never see a token)"
        ),
    )
    place_head: Literal["shared", "adapter"] = Field(
        "shared",
        description="scoring of placements: the decoder of grasps, or the same after a small residual adapter of their own",
    )


class ModelConfig(Section):
    """One network class; variants are values of this section."""

    variant: Variant = Field(
        "sr", description="base (2-Align only), sr_a (both stages, ordinary attention), sr (both, DSSA), a2 (published A2)"
    )
    width: int = Field(0, ge=0, le=2048, description="model width; 0 takes the encoder's (the paper: 768)")
    heads: int = Field(8, ge=1, le=32, description="attention heads (the paper: 8); they must divide the width")
    stage1: Stage1Config = Field(default_factory=Stage1Config, description="1-Align")
    dssa: DSSAConfig = Field(default_factory=DSSAConfig, description="deep sparse self-attention")
    encoder: EncoderBlockConfig = Field(default_factory=EncoderBlockConfig, description="encoder between the stages")
    stage2: Stage2Config = Field(default_factory=Stage2Config, description="2-Align")
