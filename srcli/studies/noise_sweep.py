"""Stage ``noise-sweep``: sparse branches under point noise at test time (the paper's Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ArtifactError
from srcli.studies.policy_store import (
    FEATURES,
    POLICIES,
    Arm,
    Shelf,
    check_features,
    collect_policies,
    encoder_identity,
    given_policies,
    shipped_policies,
)
from srcli.studies.study import Summary, at_scale, play, write_results

if TYPE_CHECKING:
    from srcli.parallel import Executor, Progress
    from srcli.params import Params
    from srcli.studies.tables import StudyRow

SHIPPED = {"relu2": "sr", "relu": "sr_relu", "softmax": "sr_softmax"}
"""Policies of the package by sparse branch."""


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
    """Evaluate the network with each sparse branch, each trained on its own, under noise of several strengths.

    Writes ``noise.h5``, ``.json``, ``.md`` and ``.png`` into the folder. The noise is drawn from the decision, so at the same
    decision all branches see the same noise, and stronger noise is the same noise scaled up.

    Args:
        features: what is trained on. None, and no policies: the policies of the package if it has them all, else
            ``data/features.h5``.
        policies: policies that are already trained, each ``BRANCH=FILE``.
        policies_dir: where trained policies are kept and found again.
        train: False: use only what is trained already.
        reuse: folders of evaluations or studies; their episodes are taken where everything they depend on is the same.

    Raises:
        ArtifactError: there is nothing to train on; names what to run first.
        MismatchError: features or a policy of another encoder.
        MissingAssetError: a policy is missing and may not be trained.
        BusyError: another run is writing the folder.
    """
    from srcli.artifacts.core import output_lock
    from srcli.artifacts.study import NOISE_SWEEP

    section = params.noise
    base = at_scale(params, section)
    branches = tuple(dict.fromkeys(section.sparse))
    arms = noise_arms(base)
    trainees = _trainees(base)
    identity: dict[str, Any] = {}

    def encoder() -> dict[str, Any]:
        if not identity:
            identity.update(encoder_identity(base, device))
        return identity

    out_dir = Path(out_dir)
    with output_lock(out_dir / "noise.h5"):
        notes: list[str] = []
        seeds = tuple(dict.fromkeys(section.seeds))
        shipped = {}
        if features is None and not policies:
            shipped = shipped_policies({branch: SHIPPED[branch] for branch in branches}, params.encoder)
        if shipped:
            seeds = (0,)
            given = {(branch, 0): shelved for branch, shelved in shipped.items()}
            files = ", ".join(f"{p.path.stem} ({branch})" for branch, p in shipped.items())
            notes.append(f"policies shipped with the package were used: {files}; give features to train your own")
        else:
            given = given_policies(policies, trainees, seeds, encoder)
        source = features or FEATURES
        if any((arm.name, seed) not in given for arm in trainees for seed in seeds):
            if features is None and not source.exists():
                raise ArtifactError(
                    f"{source}: no features there to train {', '.join(branches)} on, and the package has no policies for all",
                    "first `srcli collect --task pick`, then `srcli featurize`; or give policies with --policy BRANCH=FILE",
                )
            check_features(source, base, encoder)
        shelf = Shelf(Path(policies_dir), given, train, device)
        trained = collect_policies(shelf, trainees, seeds, dict.fromkeys(branches, source), progress)
        found = {(arm.name, seed): trained[str(arm.facts["sparse"]), seed] for seed in seeds for arm in arms}
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
        points = {arm.name: (str(arm.facts["sparse"]), float(arm.facts["sigma"])) for arm in arms}

        def draw(path: Path, rows: tuple[StudyRow, ...]) -> Path:
            from srcli.studies.figures import draw_noise

            return draw_noise(path, rows, points, _axis(section.unit), base.evaluate.confidence)

        reference = "relu2" if "relu2" in branches else branches[0]
        by_point = {point: name for name, point in points.items()}
        notes.append(f"sigma is in {_axis(section.unit)}; noise comes after fusion, at test time only, candidates are unchanged")
        return write_results(
            out_dir / "noise",
            NOISE_SWEEP,
            "noise",
            "Sparse branches under point noise",
            section,
            seeds,
            arms,
            found,
            played,
            {name: by_point[reference, sigma] for name, (_, sigma) in points.items()},
            base,
            draw,
            {name: by_point[branch, 0.0] for name, (branch, _) in points.items()},
            notes,
        )


def _trainees(base: Params) -> tuple[Arm, ...]:
    """One arm per sparse branch, as it is trained."""
    from srcli.params.loading import override

    changes = [(s, {"model.variant": "sr", "model.dssa.sparse": s}) for s in dict.fromkeys(base.noise.sparse)]
    return tuple(Arm(s, s, override(base, values)) for s, values in changes)


def noise_arms(base: Params) -> tuple[Arm, ...]:
    """One arm per sparse branch and strength, 0 first."""
    from srcli.config.noise import NoiseConfig

    unit = base.noise.unit
    sigmas = sorted({0.0, *base.noise.sigma})
    return tuple(
        Arm(
            name=f"{arm.name}-{sigma:g}",
            title=f"{arm.title}, σ {sigma:g}",
            params=arm.params,
            noise=NoiseConfig(sigma=sigma, unit=unit) if sigma else None,
            facts={"study": "noise", "sparse": arm.name, "sigma": sigma, "unit": unit},
        )
        for arm in _trainees(base)
        for sigma in sigmas
    )


def _axis(unit: str) -> str:
    return {
        "normalized": "units of half the workspace's edge (0.224 m)",
        "metre": "metres",
        "feature": "units of the fused features' spread",
    }[unit]
