"""Stage ``ablate``: variants of the network (the paper's Table 3), and studies of what the paper leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ConfigError, unknown_name
from srcli.studies.policy_store import (
    DEMOS,
    FEATURES,
    POLICIES,
    Arm,
    Shelf,
    check_features,
    collect_policies,
    encoder_identity,
    features_of,
    given_policies,
    shipped_policies,
)
from srcli.studies.study import Summary, at_scale, play, write_results

if TYPE_CHECKING:
    from srcli.config.ablate import ScaleConfig
    from srcli.parallel import Executor, Progress
    from srcli.params import Params
    from srcli.studies.tables import StudyRow

TITLES = {"base": "BASE", "sr_a": "SR-A", "sr": "SR", "a2": "A2"}


@dataclass(frozen=True)
class Study:
    """A choice that the paper leaves open.

    Attributes:
        question: one line.
        values: parameters by name of the value; the first is the reference.
        needs: what has to be made anew for a value: training, features (and training), or nothing.
    """

    question: str
    values: Mapping[str, Mapping[str, Any]]
    needs: str = "training"


def _combined(align1: float, align2: float, prior: float, meant: float = 0.5) -> dict[str, float]:
    values = {"align1": align1, "align2": align2, "prior": prior, "meant": meant}
    return {f"evaluate.combine.{key}": value for key, value in values.items()}


STUDIES: dict[str, Study] = {
    "layers": Study(
        "number of layers of the self-attention encoder", {str(n): {"model.encoder.layers": n} for n in (1, 0, 2, 4)}
    ),
    "encoder_place": Study(
        "self-attention on points or on actions", {name: {"model.encoder.place": name} for name in ("points", "actions")}
    ),
    "points": Study(
        "selection of points: by similarity, blind to language, or all",
        {name: {"cloud.select": name} for name in ("similarity", "farthest", "all")},
        "features",
    ),
    "fusion_norm": Study(
        "fusion divides by the sum of confidences or by the visible views",
        {name: {"cloud.norm": name} for name in ("weight", "count")},
        "features",
    ),
    "stage1_direction": Study(
        "who asks in 1-Align: the tokens or the points",
        {name: {"model.stage1.direction": name} for name in ("text_query", "point_query")},
    ),
    "write_back": Study(
        "what 1-Align writes on the points",
        {"mask+text": {"model.stage1.write_back": "mask+text"}, "mask": {"model.stage1.write_back": "mask"}},
    ),
    "branches": Study(
        "branches of DSSA: both, the dense one alone, the sparse one alone",
        {name: {"model.dssa.branch": name} for name in ("both", "dense", "sparse")},
    ),
    "mask": Study("the semantic mask reaches 2-Align or not", {name: {"model.stage2.mask": name} for name in ("on", "off")}),
    "combine": Study(
        "weights of 1Align, 2Align and the prior in the semantic consistency score",
        {
            "all": _combined(8.0, 1.0, 24.0),
            "2align+prior": _combined(0.0, 1.0, 24.0),
            "2align": _combined(0.0, 1.0, 0.0),
            "1align": _combined(1.0, 0.0, 0.0, meant=1.0),
            "1align+prior": _combined(1.0, 0.0, 3.0),
            "1align+2align": _combined(8.0, 1.0, 0.0),
        },
        "nothing",
    ),
}
"""Each value changes the named keys and nothing else. In `combine` scores of grasps are logarithms; 1Align alone has no limit."""


def run(
    params: Params,
    out_dir: Path,
    features: Path | None = None,
    *,
    study: str = "",
    policies: Sequence[str] = (),
    policies_dir: Path = POLICIES,
    demos: Sequence[Path] = DEMOS,
    train: bool = True,
    reuse: Sequence[Path] = (),
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Compare variants, or the values of a study, on the same episodes; trains what is missing and resumes after a kill.

    Writes ``ablation.h5``, ``.json``, ``.md`` and ``.png`` into the folder (``study-NAME.*`` for a study).

    Args:
        features: what is trained on; None: ``data/features.h5``, and without it the shipped policies are compared.
        study: name of a study; empty: the variants of section ``ablate``.
        policies: policies that are already trained, each ``ARM=FILE``.
        policies_dir: where trained policies are kept and found again.
        demos: demonstrations, for studies that change the features.
        train: False: use only what is trained already.
        reuse: folders of evaluations or studies; their episodes are taken where everything they depend on is the same.

    Raises:
        UnknownNameError: unknown study or arm.
        ArtifactError: features or demonstrations are not there.
        MismatchError: features or a policy of another encoder.
        MissingAssetError: a policy is missing and may not be trained.
        BusyError: another run is writing the folder.
    """
    from srcli.artifacts.core import output_lock
    from srcli.artifacts.study import ABLATION

    section, arms, reference = plan(params, study)
    base = at_scale(params, section)
    seeds = tuple(dict.fromkeys(section.seeds))
    identity: dict[str, Any] = {}

    def encoder() -> dict[str, Any]:
        if not identity:
            identity.update(encoder_identity(base, device))
        return identity

    out_dir = Path(out_dir)
    stem = out_dir / (f"study-{study}" if study else "ablation")
    with output_lock(stem.with_suffix(".h5")):
        source = features or FEATURES
        notes: list[str] = []
        shipped = {}
        if not study and features is None and not policies and not source.exists():
            shipped = shipped_policies({arm.name: arm.name for arm in arms}, params.encoder)
        if shipped:
            seeds = (0,)
            given = {(variant, 0): shelved for variant, shelved in shipped.items()}
            notes.append("policies shipped with the package were used: give features to train your own")
        else:
            given = given_policies(policies, arms, seeds, encoder)
        if any((arm.name, seed) not in given for arm in arms for seed in seeds):
            check_features(source, base, encoder)
        made = features_of(arms, base, source, demos, Path(policies_dir), workers, device, progress)
        found = collect_policies(Shelf(Path(policies_dir), given, train, device), arms, seeds, made, progress)
        played = play(
            arms,
            seeds,
            found,
            base,
            out_dir / "evaluation" / (study or "variants"),
            reuse=reuse,
            workers=workers,
            device=device,
            progress=progress,
            executor=executor,
        )
        names = {arm.name: arm.title for arm in arms}

        def draw(path: Path, rows: tuple[StudyRow, ...]) -> Path:
            from srcli.studies.figures import draw_arms

            return draw_arms(path, rows, names, base.evaluate.confidence)

        title = f"Study `{study}`: {STUDIES[study].question}" if study else "Ablation: variants of the network"
        references = {arm.name: reference for arm in arms}
        return write_results(
            stem,
            ABLATION,
            study or "variants",
            title,
            section,
            seeds,
            arms,
            found,
            played,
            references,
            base,
            draw,
            notes=notes,
        )


def plan(params: Params, study: str = "") -> tuple[ScaleConfig, tuple[Arm, ...], str]:
    """Scale, arms and reference arm of the ablation, or of a study.

    Raises:
        UnknownNameError: no such study.
        ConfigError: the reference is not among the variants.
    """
    from srcli.params.loading import override

    if not study:
        section = params.ablate
        variants = tuple(dict.fromkeys(section.variants))
        if section.reference not in variants:
            raise ConfigError(
                f"ablate.reference = {section.reference}: not among ablate.variants ({', '.join(variants)})",
                "add it to the variants, or choose another reference",
            )
        base = at_scale(params, section)
        arms = tuple(
            Arm(v, TITLES[v], override(base, {"model.variant": v}), facts={"study": "variants", "value": v}) for v in variants
        )
        return section, arms, section.reference
    if study not in STUDIES:
        raise unknown_name("study", study, STUDIES)
    scale: ScaleConfig = params.ablate.study
    if STUDIES[study].needs == "nothing":
        # Its values are ways of choosing themselves.
        scale = scale.model_copy(update={"choice": "combined"})
    base = at_scale(params, scale)
    arms = tuple(
        Arm(_word(value), f"{study}: {value}", override(base, changes, f"study {study}"), facts={"study": study, "value": value})
        for value, changes in STUDIES[study].values.items()
    )
    return scale, arms, arms[0].name


def _word(value: str) -> str:
    return value.replace("+", "_")
