"""``ablate``: forms of the network (the paper's Table 3), studies of what the paper leaves open, and what each part is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ConfigError, MissingAssetError, unknown_name
from srcli.methods.base import Study
from srcli.methods.registry import UNTRAINED, spec_of, studies_of
from srcli.studies.policy_store import (
    DEMOS,
    FEATURES,
    POLICIES,
    Arm,
    PolicyStore,
    check_features,
    collect_policies,
    encoder_identity,
    features_of,
    given_policies,
    packaged_policies,
    shipped_policies,
)
from srcli.studies.study import Summary, at_scale, play, scaled, write_results

if TYPE_CHECKING:
    from srcli.config.ablate import ScaleConfig
    from srcli.parallel import Executor, Progress
    from srcli.params import Params
    from srcli.studies.tables import Episode, StudyRow


def run(
    params: Params,
    out_dir: Path,
    features: Path | None = None,
    *,
    study: str = "",
    method: str = "",
    policies: Sequence[str] = (),
    policies_dir: Path = POLICIES,
    demos: Sequence[Path] = DEMOS,
    train: bool = True,
    packaged: bool = False,
    reuse: Sequence[Path] = (),
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    executor: Executor | None = None,
    tell: Callable[[str], None] | None = None,
) -> Summary:
    """Compare methods, the values of a study, or a method with and without each of its parts, on the same episodes.

    What is missing is trained; a killed run resumes.

    Writes ``ablation.h5``, ``.json``, ``.md`` and ``.png`` into the folder (``study-NAME.*`` for a study).

    Args:
        features: what is trained on; None: ``data/features.h5``, and without it the shipped policies are compared.
        study: name of a study, or ``attribution``; empty: the methods of section ``ablate``.
        method: whose study it is; empty: ``evaluate.reference``.
        policies: policies that are already trained, each ``ARM=FILE``.
        policies_dir: where trained policies are kept and found again.
        demos: demonstrations, for studies that change the features.
        train: False: use only what is trained already.
        packaged: compare the policies of the package (training seed 0), whatever features there are; an arm whose policy belongs
            to another encoder is left out, and a note says so.
        reuse: folders of evaluations or studies; their episodes are taken where everything they depend on is the same.
        tell: is given the table of a task, in Markdown, that is done while other tasks are still to be played.

    Raises:
        UnknownNameError: unknown study or arm.
        ArtifactError: features or demonstrations are not there.
        MismatchError: features or a policy of another encoder.
        MissingAssetError: a policy is missing and may not be trained.
        BusyError: another run is writing the folder.
    """
    from srcli.artifacts.core import artifact_lock
    from srcli.artifacts.study import ABLATION

    section, arms, reference = plan(params, study, method)
    base = at_scale(params, section)
    seeds = tuple(dict.fromkeys(section.seeds))
    identity: dict[str, Any] = {}

    def encoder() -> dict[str, Any]:
        if not identity:
            identity.update(encoder_identity(base, device))
        return identity

    out_dir = Path(out_dir)
    results = results_file(out_dir, study)
    stem = results.with_suffix("")
    with artifact_lock(results):
        source = features or FEATURES
        notes: list[str] = []
        if packaged:
            shipment = packaged_policies(arms, base, encoder)
            seeds, given = (0,), dict(shipment.kept)
            arms = tuple(arm for arm in arms if arm.name not in shipment.left_out)
            notes += [*shipment.notes, *shipment.left_out.values()]
            if not arms:
                raise MissingAssetError("; ".join(shipment.left_out.values()), "leave --shipped away, or choose another encoder")
        # What differs from an arm's weights when it acts only needs no training of its own.
        elif features is None and not policies and not source.exists() and (shipped := shipped_policies(arms, base)):
            seeds, given = (0,), dict(shipped)
            notes.append("policies shipped with the package were used: give features to train your own")
        else:
            given = given_policies(policies, arms, seeds, encoder, base)
        lacking = [arm for arm in arms if arm.learns and any((arm.name, seed) not in given for seed in seeds)]
        if any(arm.spec.reads == "features" for arm in lacking):
            check_features(source, base, encoder)
        made = features_of(lacking, base, source, demos, Path(policies_dir), workers, device, progress)
        store = PolicyStore(Path(policies_dir), given, train, device, demos)
        found = collect_policies(store, arms, seeds, made, progress)
        names = {arm.name: arm.title for arm in arms}
        references = {arm.name: arm.against or reference for arm in arms}

        def finished(episodes: list[Episode]) -> None:
            from srcli.studies.tables import markdown, study_rows

            told = base.evaluate
            untaught = [arm.name for arm in arms if not arm.learns]
            rows = study_rows(episodes, references, None, told.bootstrap, told.confidence, untaught)
            if tell is not None:
                tell(markdown(rows, names, False, told.attempts))

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
            finished=finished if tell is not None and len(base.evaluate.tasks) > 1 else None,
        )

        def draw(path: Path, rows: tuple[StudyRow, ...]) -> Path:
            from srcli.studies.figures import Removed, draw_arms, draw_attribution

            if study == ATTRIBUTION:
                told = ((arm.name, arm.title, arm.facts, bool(arm.against)) for arm in arms)
                removed = {name: Removed(title, facts["part"], facts["kind"], anew) for name, title, facts, anew in told}
                return draw_attribution(path, rows, removed, base.evaluate.confidence)
            return draw_arms(path, rows, names, base.evaluate.confidence, base.evaluate.attempts)

        return write_results(
            stem,
            ABLATION,
            study or "variants",
            _title(params, study, method),
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


ATTRIBUTION = "attribution"


def studies(params: Params, method: str = "") -> dict[str, Study]:
    """The studies of a method, by name.

    Raises:
        UnknownNameError: no such method.
    """
    return dict(studies_of(spec_of(method or params.evaluate.reference)))


def _title(params: Params, study: str, method: str) -> str:
    if not study:
        return "Ablation: forms of the network"
    spec = spec_of(method or params.evaluate.reference)
    if study == ATTRIBUTION:
        return f"Attribution: what each part of {spec.title} is worth"
    return f"Study `{study}` of {spec.title}: {studies(params, method)[study].question}"


def results_file(out_dir: Path, study: str = "") -> Path:
    """Where the ablation, or a study, keeps its results in a folder."""
    return out_dir / (f"study-{study}.h5" if study else "ablation.h5")


def plan(params: Params, study: str = "", method: str = "") -> tuple[ScaleConfig, tuple[Arm, ...], str]:
    """Scale, arms and reference arm of the ablation, of a study, or of the attribution.

    Args:
        method: whose study it is; empty: ``evaluate.reference``.

    Raises:
        UnknownNameError: no such method or study.
        ConfigError: the reference is not among the methods, or the method declares no parts.
    """
    if study == ATTRIBUTION:
        from srcli.studies.attribution import plan_attribution

        return plan_attribution(params, method or params.evaluate.reference)
    if study:
        return _study(params, study, method or params.evaluate.reference)
    section = params.ablate
    names = (method,) if method else tuple(dict.fromkeys(section.methods))
    reference = method or section.reference
    if reference not in names:
        raise ConfigError(
            f"ablate.reference = {reference}: not among ablate.methods ({', '.join(names)})",
            "add it to the methods, or choose another reference",
        )
    if reference.startswith(UNTRAINED):
        raise ConfigError(f"ablate.reference = {reference}: a control cannot be the reference", "choose a method that is trained")
    base = at_scale(params, section)
    arms = tuple(
        scaled(Arm(name, method_title(name), base, name, facts={"study": "variants", "value": name}), section) for name in names
    )
    return section, arms, reference


def _study(params: Params, study: str, method: str) -> tuple[ScaleConfig, tuple[Arm, ...], str]:
    from srcli.params.loading import override

    known = studies_of(spec_of(method))
    if study not in known:
        raise unknown_name("study", study, [*known, ATTRIBUTION])
    scale: ScaleConfig = params.ablate.study
    acting_only = known[study].needs == "nothing"
    if acting_only:
        # Its values are ways of choosing themselves.
        scale = scale.model_copy(update={"choice": "combined"})
    base = at_scale(params, scale)
    arms = []
    for value, changes in known[study].values.items():
        everywhere = {key[1:]: v for key, v in changes.items() if key.startswith("/")}
        own = {key: v for key, v in changes.items() if not key.startswith("/")}
        arm = Arm(
            name=_word(value),
            title=f"{study}: {value}",
            params=override(base, everywhere, f"study {study}") if everywhere else base,
            method=method,
            changes={} if acting_only else own,
            acts=own if acting_only else {},
            facts={"study": study, "value": value},
        )
        arms.append(scaled(arm, scale))
    return scale, tuple(arms), arms[0].name


def reference_among(names: Sequence[str], wanted: str) -> str:
    """The wanted reference if it is among the methods; else the last that learns and is no control, or the last of all."""
    if wanted in names:
        return wanted
    trained = [name for name in names if not name.startswith(UNTRAINED) and spec_of(name).fit is not None]
    return (trained or list(names))[-1]


def method_title(name: str) -> str:
    """What a method, or the control of one, is called in tables."""
    title = spec_of(name).title
    return f"{title}, untrained" if name.startswith(UNTRAINED) else title


def _word(value: str) -> str:
    return value.replace("+", "_")
