"""All parameters: the sections that belong to no method, and one section for each method or family of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import Field, create_model

from srcli.config.ablate import AblateConfig
from srcli.config.base import Section
from srcli.config.candidates import CandidateConfig
from srcli.config.cloud import CloudConfig
from srcli.config.collect import CollectConfig
from srcli.config.compare import CompareConfig
from srcli.config.encoder import EncoderConfig
from srcli.config.evaluate import EvaluateConfig
from srcli.config.featurize import FeaturizeConfig
from srcli.config.language import LanguageConfig
from srcli.config.noise import NoiseSweepConfig
from srcli.config.placements import PlacementConfig
from srcli.config.pretrain import PretrainConfig
from srcli.config.probe import ProbeConfig
from srcli.config.report import ReportConfig
from srcli.config.results import ResultsConfig
from srcli.config.scene import SceneConfig
from srcli.config.sim import SimConfig
from srcli.methods.base import MethodSpec, NoSettings
from srcli.methods.registry import settings, spec_of, specs

__all__ = ["Params", "Section", "method_settings"]


def _sections() -> dict[str, type[Section]]:
    """Sections of methods by name, those of this package first."""
    found: dict[str, type[Section]] = {}
    for spec in specs().values():
        if spec.section is not NoSettings:
            found.setdefault(spec.key, spec.section)
    return found


def _described(section: type[Section]) -> str:
    return (section.__doc__ or "settings of the method").strip().splitlines()[0]


if TYPE_CHECKING:

    class Methods(Section):
        """Settings of the methods, one section for each folder of them."""

else:
    Methods = create_model(
        "Methods",
        __base__=Section,
        __module__=__name__,
        __doc__="Settings of the methods, one section for each folder of them.",
        **{
            name: (section, Field(default_factory=section, description=_described(section)))
            for name, section in _sections().items()
        },
    )


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
    methods: Methods = Field(default_factory=Methods)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    ablate: AblateConfig = Field(default_factory=AblateConfig)
    noise: NoiseSweepConfig = Field(default_factory=NoiseSweepConfig)
    compare: CompareConfig = Field(default_factory=CompareConfig)
    results: ResultsConfig = Field(default_factory=ResultsConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)
    pretrain: PretrainConfig = Field(default_factory=PretrainConfig)
    probe: ProbeConfig = Field(default_factory=ProbeConfig)


def method_settings(params: Params, name: str, changes: dict[str, Any] | None = None) -> tuple[MethodSpec, Section]:
    """The specification of an identifier and its settings: the section of params.yaml, its preset, then changes.

    Raises:
        UnknownNameError: no such method.
        ConfigError: it cannot be loaded, or a change is not allowed.
    """
    spec = spec_of(name)
    section = cast("Section", getattr(params.methods, spec.key, spec.section()))
    return spec, settings(spec, section, changes)
