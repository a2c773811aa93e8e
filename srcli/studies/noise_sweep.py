"""``noise-sweep``: methods under point noise at test time (the paper's Table 4 compares sparse branches)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ArtifactError, ConfigError
from srcli.methods.registry import UNTRAINED
from srcli.studies.ablate import method_title, reference_among
from srcli.studies.policy_store import (
    DEMOS,
    FEATURES,
    POLICIES,
    Arm,
    PolicyStore,
    check_features,
    collect_policies,
    encoder_identity,
    given_policies,
    shipped_policies,
)
from srcli.studies.study import Summary, at_scale, play, scaled, write_results

if TYPE_CHECKING:
    from srcli.parallel import Executor, Progress
    from srcli.params import Params
    from srcli.studies.tables import StudyRow


def plan(params: Params) -> tuple[tuple[Arm, ...], tuple[Arm, ...], str]:
    """The arms that are trained, those that are run under noise, and the method that the others are compared with.

    Raises:
        ConfigError: a method that takes no noise, or a control alone.
    """
    section = params.noise
    base = at_scale(params, section)
    trainees = trained_arms(base)
    arms = noise_arms(base)
    reference = reference_among(tuple(dict.fromkeys(section.methods)), section.reference)
    if reference.startswith(UNTRAINED):
        raise ConfigError(f"noise.methods: {reference} alone is a control", "name the trained method beside it")
    return trainees, arms, reference


def run(
    params: Params,
    out_dir: Path,
    features: Path | None = None,
    *,
    policies: Sequence[str] = (),
    policies_dir: Path = POLICIES,
    train: bool = True,
    reuse: Sequence[Path] = (),
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Evaluate methods, each trained on its own, under noise of several strengths.

    Writes ``noise.h5``, ``.json``, ``.md`` and ``.png`` into the folder. The noise is drawn from the decision, so at the same
    decision all methods see the same noise, and stronger noise is the same noise scaled up.

    Args:
        features: what is trained on. None, and no policies: the policies of the package if it has them all, else
            ``data/features.h5``.
        policies: policies that are already trained, each ``METHOD=FILE``.
        policies_dir: where trained policies are kept and found again.
        train: False: use only what is trained already.
        reuse: folders of evaluations or studies; their episodes are taken where everything they depend on is the same.

    Raises:
        ArtifactError: there is nothing to train on; names what to run first.
        ConfigError: a method that takes no noise.
        MismatchError: features or a policy of another encoder.
        MissingAssetError: a policy is missing and may not be trained.
        BusyError: another run is writing the folder.
    """
    from srcli.artifacts.core import artifact_lock
    from srcli.artifacts.study import NOISE_SWEEP

    section = params.noise
    base = at_scale(params, section)
    trainees, arms, reference = plan(params)
    identity: dict[str, Any] = {}

    def encoder() -> dict[str, Any]:
        if not identity:
            identity.update(encoder_identity(base, device))
        return identity

    out_dir = Path(out_dir)
    with artifact_lock(out_dir / "noise.h5"):
        notes: list[str] = []
        seeds = tuple(dict.fromkeys(section.seeds))
        shipped = {} if features is not None or policies else shipped_policies(trainees, base)
        if shipped:
            seeds = (0,)
            given = dict(shipped)
            files = ", ".join(dict.fromkeys(p.path.stem for p in shipped.values()))
            notes.append(f"policies shipped with the package were used: {files}; give features to train your own")
        else:
            given = given_policies(policies, trainees, seeds, encoder, base)
        source = features or FEATURES
        lacking = [arm for arm in trainees if arm.learns and any((arm.name, seed) not in given for seed in seeds)]
        if any(arm.spec.reads == "features" for arm in lacking):
            if features is None and not source.exists():
                raise ArtifactError(
                    f"{source}: no features there to train {', '.join(arm.name for arm in lacking)} on, and the package has no "
                    "policies for all",
                    "first `srcli collect --task pick`, then `srcli featurize`; or give policies with --policy METHOD=FILE",
                )
            check_features(source, base, encoder)
        store = PolicyStore(Path(policies_dir), given, train, device, DEMOS)
        trained = collect_policies(store, trainees, seeds, {arm.name: source for arm in trainees}, progress)
        found = {(arm.name, seed): trained[arm.method, seed] for seed in seeds for arm in arms if arm.learns}
        played = play(
            arms,
            seeds,
            found,
            base,
            out_dir / "evaluation",
            reuse=reuse,
            workers=workers,
            device=device,
            progress=progress,
            executor=executor,
        )
        points = {arm.name: (method_title(str(arm.facts["value"])), float(arm.facts["sigma"])) for arm in arms}

        def draw(path: Path, rows: tuple[StudyRow, ...]) -> Path:
            from srcli.studies.figures import draw_noise

            return draw_noise(path, rows, points, _axis(section.unit), base.evaluate.confidence, base.evaluate.attempts)

        named = {(str(arm.facts["value"]), float(arm.facts["sigma"])): arm.name for arm in arms}
        notes.append(f"sigma is in {_axis(section.unit)}; {_WHERE[section.where]}; at test time only, candidates are unchanged")
        return write_results(
            out_dir / "noise",
            NOISE_SWEEP,
            "noise",
            "Point noise at test time",
            section,
            seeds,
            arms,
            found,
            played,
            {arm.name: named[reference, float(arm.facts["sigma"])] for arm in arms},
            base,
            draw,
            {arm.name: named[str(arm.facts["value"]), 0.0] for arm in arms},
            notes,
        )


def trained_arms(base: Params) -> tuple[Arm, ...]:
    """One arm per method, as it is trained.

    Raises:
        ConfigError: a method whose section has no noise.
    """
    arms = []
    for name in dict.fromkeys(base.noise.methods):
        arm = Arm(name, method_title(name), base, name, facts={"study": "noise", "value": name})
        if "noise" not in arm.spec.section.model_fields:
            raise ConfigError(f"noise.methods: '{name}' takes no noise", "name methods whose section has `noise`")
        arms.append(scaled(arm, base.noise))
    return tuple(arms)


def noise_arms(base: Params) -> tuple[Arm, ...]:
    """One arm per method and strength, 0 first."""
    unit, where = base.noise.unit, base.noise.where
    sigmas = sorted({0.0, *base.noise.sigma})
    return tuple(
        replace(
            arm,
            name=f"{arm.name}-{sigma:g}",
            title=f"{arm.title}, σ {sigma:g}",
            acts={**arm.acts, "noise.sigma": sigma, **({"noise.unit": unit, "noise.where": where} if sigma else {})},
            facts={**arm.facts, "sigma": sigma, "unit": unit, "where": where},
        )
        for arm in trained_arms(base)
        for sigma in sigmas
    )


_WHERE = {
    "cloud": "points are moved before fusion, and with them their features, the similarity and which points are kept",
    "network": "noise comes after fusion, so features and similarity are clean",
}


def _axis(unit: str) -> str:
    return {
        "normalized": "units of half the workspace's edge (0.224 m)",
        "metre": "metres",
        "feature": "units of the fused features' spread",
    }[unit]
