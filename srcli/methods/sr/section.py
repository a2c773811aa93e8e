"""Section ``methods.sr``: the network of SR, SR-A and BASE, what SR+ adds to it, its training and its choice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from srcli.config.base import Section
from srcli.config.choice import ChoiceConfig
from srcli.config.noise import NoiseConfig
from srcli.config.train import TrainConfig

Switch = Literal["on", "off"]
Sparse = Literal["softmax", "relu", "relu2"]
PartName = Literal[
    "one_align",
    "mask",
    "encoder",
    "self_attention",
    "dense",
    "sparse",
    "offset",
    "two_align",
    "strength",
    "window",
    "sink",
    "readout",
    "rings",
    "words",
    "quality",
    "similarity_bias",
]


class OneAlignConfig(Section):
    """1-Align: language to points."""

    use: Switch = Field("on", description="whether there is a first stage; off: values are feature times similarity (BASE)")
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


class DSSAConfig(Section):
    """Deep sparse self-attention; with branch = dense it is ordinary attention (SR-A)."""

    branch: Literal["both", "dense", "sparse"] = Field(
        "both", description="branches that are computed: both (the paper), the dense softmax alone, or the sparse one alone"
    )
    sparse: Sparse = Field("relu2", description="sparse branch: softmax, relu or relu2 (squared ReLU, the paper's)")
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


class TwoAlignConfig(Section):
    """2-Align: candidates to points."""

    mask: Switch = Field("on", description="whether 1-Align's semantic mask reaches 2-Align; off leaves its write-back")
    place_head: Literal["shared", "adapter"] = Field(
        "shared",
        description="scoring of placements: the decoder of grasps, or the same after a small residual adapter of their own",
    )


class NetworkConfig(Section):
    """The paper's network: sizes and what it leaves open."""

    width: int = Field(0, ge=0, le=2048, description="model width; 0 takes the encoder's (the paper: 768)")
    heads: int = Field(8, ge=1, le=32, description="attention heads (the paper: 8); they must divide the width")
    stage1: OneAlignConfig = Field(default_factory=OneAlignConfig, description="1-Align")
    dssa: DSSAConfig = Field(default_factory=DSSAConfig, description="deep sparse self-attention")
    encoder: EncoderBlockConfig = Field(default_factory=EncoderBlockConfig, description="encoder between the stages")
    stage2: TwoAlignConfig = Field(default_factory=TwoAlignConfig, description="2-Align")


class AdditionsConfig(Section):
    """What SR+ adds to the paper's network or does otherwise; the strict identifiers have none of it."""

    cosine_start: Switch = Field(
        "on", description="1-Align's queries and keys start as the same map, so that it starts as a cosine"
    )
    similarity_bias: float = Field(
        3.0, ge=0.0, le=100.0, description="initial weight of the similarity map as a bias on the 1-Align logits; 0: no such bias"
    )
    pooled_start: float = Field(
        3.0, ge=-20.0, le=20.0, description="initial weight of the pooled sentence among the tokens, a logit"
    )
    strength: Switch = Field(
        "on", description="similarity and mask are added to the aligned cloud as two more channels, projected"
    )
    plain_points: Switch = Field("on", description="the encoder's input has no encoded positions added (the paper adds them)")
    position_keys: Switch = Field("on", description="keys of 2-Align come from positions alone (the paper: with visual features)")
    sparse_norm: Literal["rms", "count", "none"] = Field(
        "rms",
        description="normalisation of the sparse branch: rms, count (divide by the number of points) or none (the paper)",
    )
    window: Switch = Field("on", description="learned bias of 2-Align towards points near a candidate's tip, in its tool frame")
    window_radius: float = Field(
        0.025, gt=0.001, le=0.5, description="metres, initial radius of that bias; heads start between 0.6 and 1.6 times it"
    )
    sink: Switch = Field("on", description="2-Align may attend to nothing, so that its output tells how much there was")
    readout: Switch = Field("on", description="the score starts as the similarity (and mask) read around the candidate's tip")
    rings: Switch = Field("on", description="each candidate also reads the cloud in rings of 0 to 20 cm around it")
    words: Switch = Field("on", description="the sentence's tokens weigh what the rings read")
    quality: Switch = Field("on", description="the prior's quality is an input of the candidate")


STRICT: dict[str, object] = {
    "additions.cosine_start": "off",
    "additions.similarity_bias": 0.0,
    "additions.pooled_start": 0.0,
    "additions.strength": "off",
    "additions.plain_points": "off",
    "additions.position_keys": "off",
    "additions.sparse_norm": "none",
    "additions.window": "off",
    "additions.sink": "off",
    "additions.readout": "off",
    "additions.rings": "off",
    "additions.words": "off",
    "additions.quality": "off",
    "train.target": "expert",
    "choice.align1": 0.0,
    "choice.align1_place": 0.0,
    "choice.align2": 1.0,
    "choice.prior": 0.0,
    "choice.prior_place": 0.0,
}
"""The paper's network and nothing else, chosen by 2-Align alone."""


class SRConfig(Section):
    """SR, SR-A and BASE: one network whose stages are switches; the identifiers differ by their preset."""

    network: NetworkConfig = Field(default_factory=NetworkConfig, description="the paper's network")
    additions: AdditionsConfig = Field(default_factory=AdditionsConfig, description="what the plus forms add")
    bypass: Annotated[tuple[PartName, ...], Field(strict=False)] = Field(
        (), description="parts whose output is replaced by nothing (attribution): the weights stay the same"
    )
    train: TrainConfig = Field(default_factory=TrainConfig, description="training")
    choice: ChoiceConfig = Field(default_factory=ChoiceConfig, description="from scores to a choice")
    noise: NoiseConfig = Field(default_factory=NoiseConfig, description="noise on what the network sees when it acts")
