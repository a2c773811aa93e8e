"""One typed model per section of params.yaml, composed as :class:`Params`."""

from __future__ import annotations

from pydantic import Field

from srcli.config.ablate import AblateConfig
from srcli.config.base import Section
from srcli.config.candidates import CandidateConfig
from srcli.config.cloud import CloudConfig
from srcli.config.collect import CollectConfig
from srcli.config.encoder import EncoderConfig
from srcli.config.evaluate import EvaluateConfig
from srcli.config.featurize import FeaturizeConfig
from srcli.config.language import LanguageConfig
from srcli.config.noise import NoiseSweepConfig
from srcli.config.placements import PlacementConfig
from srcli.config.pretrain import PretrainConfig
from srcli.config.probe import ProbeConfig
from srcli.config.report import ReportConfig
from srcli.config.scene import SceneConfig
from srcli.config.sim import SimConfig
from srcli.config.train import TrainConfig
from srcli.methods.sr.section import ModelConfig

__all__ = ["Params", "Section"]


class Params(Section):
    """Everything that can be tuned. The order is the way of the data."""

    seed: int = Field(0, ge=0, description="root seed of everything random in collect, train and evaluate")
    scene: SceneConfig = Field(default_factory=SceneConfig)
    sim: SimConfig = Field(default_factory=SimConfig)
    language: LanguageConfig = Field(default_factory=LanguageConfig)
    candidates: CandidateConfig = Field(default_factory=CandidateConfig)
    placements: PlacementConfig = Field(default_factory=PlacementConfig)
    collect: CollectConfig = Field(default_factory=CollectConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    cloud: CloudConfig = Field(default_factory=CloudConfig)
    featurize: FeaturizeConfig = Field(default_factory=FeaturizeConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    ablate: AblateConfig = Field(default_factory=AblateConfig)
    noise: NoiseSweepConfig = Field(default_factory=NoiseSweepConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)
    pretrain: PretrainConfig = Field(default_factory=PretrainConfig)
    probe: ProbeConfig = Field(default_factory=ProbeConfig)
