"""The Python interface: what ``import srcli`` offers.

Everything that stands in ``__all__`` keeps its name, its arguments and its meaning within a major version (docs/python.md). The
rest of the package may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import SrcliError
from srcli.evaluation.decision import Decision
from srcli.evaluation.scene import Scene, Step
from srcli.frames import Observation, Table, Workspace
from srcli.types import Action, HeldExtent
from srcli.types import Observation as Views

if TYPE_CHECKING:
    from srcli.actions.graspnet import GraspGroup
    from srcli.artifacts.opening import Artifact
    from srcli.evaluation.deciding import Decider
    from srcli.evaluation.results import Summary
    from srcli.params import Params

__all__ = [
    "Action",
    "Decision",
    "HeldExtent",
    "Observation",
    "Policy",
    "Scene",
    "SrcliError",
    "Step",
    "Table",
    "Workspace",
    "evaluate",
    "load_policy",
    "make_scene",
    "read",
]

Settings = Mapping[str, Any]
"""Keys of params.yaml and their values: ``{"candidates.count": 60}``."""


def _parameters(params: Path | str | None, settings: Settings | None, encoder: str | None = None) -> Params:
    """Defaults, or a parameter file, with some keys replaced. A params.yaml of the working directory is not read by itself."""
    from srcli.params import Params
    from srcli.params.loading import load_params, override

    values = dict(settings or {})
    if encoder is not None:
        name, given, weights = encoder.partition("=") if "=" in encoder else _model_and_tag(encoder)
        # Of a hub, and of the package, no tag is one, too: that of a file belongs to another model.
        known = bool(given) or name == "embedded" or name.startswith("hf-hub:")
        values |= {"encoder.name": name, **({"encoder.pretrained": weights} if known else {})}
    found = load_params(Path(params)) if params is not None else Params()
    return override(found, values, "settings") if values else found


def _model_and_tag(encoder: str) -> tuple[str, str, str]:
    """``MODEL/TAG`` in its parts; the repository of a hub keeps its slash."""
    return (encoder, "", "") if encoder.startswith("hf-hub:") else encoder.partition("/")


class Policy:
    """A method with its weights and its encoder, ready to decide. Made by :func:`load_policy`."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider

    @property
    def name(self) -> str:
        """As in tables."""
        return self._decider.method.label

    @property
    def encoder(self) -> Mapping[str, Any]:
        """Identity of the encoder."""
        return dict(self._decider.encoder.identity.as_dict())

    def decide(self, observation: Views, sentence: str) -> Decision:
        """What to do: a grasp, or a placement where the observation says what is held.

        Args:
            observation: of :meth:`Observation.from_folder`, :meth:`Observation.from_views` or :meth:`Scene.observe`.

        Raises:
            ConfigError: an empty sentence, or a method that cannot do it.
            SceneError: the views cannot be used.
        """
        return self._decider(observation, sentence)

    def __repr__(self) -> str:
        return f"Policy({self.name!r})"


def load_policy(
    policy: Path | str | None = None,
    *,
    encoder: str | None = None,
    params: Path | str | None = None,
    settings: Settings | None = None,
    device: str = "cpu",
) -> Policy:
    """A method ready to decide.

    Args:
        policy: a name of ``srcli methods``, ``NAME=FILE``, or a policy file; None: the default method with its shipped weights.
        encoder: as ``--encoder``: ``embedded/seen-only``, ``MODEL/TAG``, ``MODEL=FILE``; None: the one of the parameters.
        params: a parameter file; None: the defaults.
        settings: keys of params.yaml that differ.
        device: of torch.

    Raises:
        UnknownNameError, ArtifactError, MissingAssetError, MismatchError, ConfigError: it cannot be used; the message says why.
    """
    from srcli.evaluation.deciding import Decider
    from srcli.stages.decide import chosen_method

    values = _parameters(params, settings, encoder)
    return Policy(Decider(values, chosen_method(values, "" if policy is None else str(policy)), device))


def make_scene(
    task: str = "pick",
    seed: int = 0,
    *,
    split: str = "seen",
    key: str = "",
    params: Path | str | None = None,
    settings: Settings | None = None,
) -> Scene:
    """A simulated scene with a sentence: ``observe()``, ``execute(decision)``, until ``done``.

    Args:
        task: pick, place, pick_place, or one of an installed package.
        seed: which scene of the suite ``development``, from 0.
        split: seen or unseen objects.
        key: any episode's key or a case's name instead, as ``srcli evaluate --case`` takes it.

    Raises:
        UnknownNameError: no such task, split or case.
        SetupError: the scene cannot be set up.
    """
    from srcli.stages.decide import scene_of

    scene: Scene = scene_of(_parameters(params, settings), task, seed, split, key)
    return scene


def evaluate(
    *policies: Path | str,
    out: Path | str,
    methods: Sequence[str] | None = None,
    suite: str | None = None,
    tasks: Sequence[str] | None = None,
    episodes: int | None = None,
    workers: int = 1,
    params: Path | str | None = None,
    settings: Settings | None = None,
    device: str = "cpu",
) -> Summary:
    """Measure methods on the same episodes, as ``srcli evaluate`` does; resumable.

    With several ``workers`` the calling script needs ``if __name__ == "__main__":``.

    Args:
        policies: policy files, each ``FILE`` or ``NAME=FILE``.
        out: folder of results, table and pictures.
        methods: names of ``srcli methods``; None: those of the parameters, or where policies are given none but them.
        suite, tasks, episodes: as ``--suite``, ``--task``, ``--episodes``.

    Raises:
        As :func:`srcli.stages.evaluate.run`.
    """
    from srcli.stages.evaluate import run

    given = {
        "evaluate.suite": suite,
        "evaluate.tasks": None if tasks is None else list(tasks),
        "evaluate.episodes": episodes,
        "evaluate.methods": _names(policies) if methods is None else list(methods),
    }
    values = _parameters(params, {**(settings or {}), **{key: value for key, value in given.items() if value is not None}})
    return run(values, [str(policy) for policy in policies], Path(out), workers=workers, device=device)


def _names(policies: Sequence[Path | str]) -> list[str] | None:
    """What the rows of given policies are called; None without any."""
    from srcli.evaluation.methods import parse_policy
    from srcli.methods.policy_file import read_policy

    given = [parse_policy(str(policy)) for policy in policies]
    return [name or read_policy(path).method for name, path in given] or None


def read(file: Path | str) -> Artifact | GraspGroup:
    """Any file of srcli: demonstrations, features, a policy, results, a study, or GraspNet rows (``.npy``).

    Raises:
        ArtifactError: missing, damaged, foreign, or of another version.
    """
    if Path(file).suffix == ".npy":
        from srcli.actions.graspnet import read_grasps

        return read_grasps(file)
    from srcli.artifacts.opening import open_any

    return open_any(file)
