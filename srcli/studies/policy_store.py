"""The policies of a study: each is trained once, on features of its own points, and found again by what it was trained from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.digests import config_digest, differing_keys, encoder_label, file_digest
from srcli.config.train import ALSO_TRAINED_WITH
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError, unknown_name
from srcli.evaluation.methods import Method, parse_method, shipped_file
from srcli.methods.policy_file import read_policy, stored_section, taught_from
from srcli.methods.registry import UNTRAINED, spec_of
from srcli.params import method_settings

if TYPE_CHECKING:
    from srcli.config.base import Section
    from srcli.methods.base import MethodSpec
    from srcli.methods.policy_file import Stored
    from srcli.parallel import Progress
    from srcli.params import Params

FEATURES = Path("data/features.h5")
DEMOS = (Path("data/pick.h5"), Path("data/place.h5"))
POLICIES = Path("results/policies")


@dataclass(frozen=True)
class Arm:
    """One value of what is compared.

    Attributes:
        name: unique in the study; it becomes part of file names.
        title: what tables call it.
        params: all parameters under which it is trained and evaluated.
        method: identifier of its method, or ``untrained:ID`` for the control.
        changes: keys of the method's section that it is trained and acts with.
        acts: keys that it acts with only: the weights are those of the arm without them.
        against: arm that its differences are taken against; empty: the study's reference.
        facts: what distinguishes it, for the results.
    """

    name: str
    title: str
    params: Params
    method: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    acts: Mapping[str, Any] = field(default_factory=dict)
    against: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> MethodSpec:
        """Specification of its method."""
        return spec_of(self.method)

    @property
    def trains(self) -> MethodSpec:
        """Specification of the method whose policies it acts with."""
        return spec_of(self.spec.fitted_as)

    @property
    def control(self) -> bool:
        """Whether it is an untrained control."""
        return self.method.startswith(UNTRAINED)

    @property
    def learns(self) -> bool:
        """Whether it needs a policy."""
        return self.spec.fit is not None and not self.control

    def trained_with(self) -> Section:
        """Its section as it is trained with."""
        return method_settings(self.params, self.trains.name, dict(self.changes))[1]

    def acts_with(self) -> Section:
        """Its section as it acts with."""
        return method_settings(self.params, self.method, {**self.changes, **self.acts})[1]


@dataclass(frozen=True)
class Kept:
    """A policy of an arm and training seed.

    Attributes:
        origin: trained (now), reused (an earlier run trained the same), given, or shipped.
        note: how a given one differs from what would have been trained.
    """

    path: Path
    sha256: str
    origin: str
    note: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)


def effective(spec: MethodSpec, section: Section) -> dict[str, Any]:
    """What a policy of this method depends on: its settings without what acts at test time only."""
    data = section.model_dump(mode="json")
    return {key: value for key, value in data.items() if key in ALSO_TRAINED_WITH or key not in spec.acts_with}


def trained_as_its_method(arm: Arm, base: Params) -> bool:
    """Whether a policy of the method as the parameters describe it is that of the arm: the same settings, the same points."""
    plain = method_settings(base, arm.trains.name)[1]
    return arm.params.cloud == base.cloud and effective(arm.trains, arm.trained_with()) == effective(arm.trains, plain)


class PolicyStore:
    """Trained policies in a folder, one file per method, settings, seed and data: nothing is trained twice.

    Args:
        folder: of the policy files; their names carry the digest of what they were trained from.
        given: policies by (arm, seed) that take the place of training.
        train: whether what is missing may be trained.
        demos: demonstrations, for methods that read them.
    """

    def __init__(
        self,
        folder: Path,
        given: Mapping[tuple[str, int], Kept],
        train: bool = True,
        device: str = "cpu",
        demos: Sequence[Path] = (),
    ) -> None:
        self.folder, self.given, self.train, self.device, self.demos = folder, dict(given), train, device, tuple(demos)
        self._digests: dict[Path, str] = {}

    def get(self, arm: Arm, seed: int, features: Path | None, progress: Callable[[int, int, str], None]) -> Kept:
        """The policy of an arm and seed, trained if need be; a killed training goes on from its checkpoint.

        Raises:
            MissingAssetError: it is not there and may not be trained.
            MismatchError: the file under its name was trained otherwise.
        """
        if (arm.name, seed) in self.given:
            return self.given[arm.name, seed]
        if features is None and arm.spec.reads == "features":
            raise MissingAssetError(
                f"no policy for '{arm.title}' with training seed {seed}, and no features to train it on",
                "give features made with `srcli featurize`, or a policy",
            )
        path = self.path(arm, seed, features)
        if (named := self._named(arm, seed, features)) is not None:
            return named
        if path.exists():
            stored = read_policy(path)
            if differing := differing_keys(_recorded(stored), _wanted(arm, seed)):
                raise MismatchError(f"{path}: was trained otherwise: {'; '.join(differing[:3])}", "remove it; it is trained anew")
            return Kept(path, file_digest(path), "reused", training=stored.weights.training)
        if not self.train:
            raise MissingAssetError(
                f"'{arm.title}' was not trained with seed {seed} (no {path})",
                "leave --no-train away to train it now, or give a policy with --policy NAME=FILE",
            )
        from srcli.stages import train as stage

        stage.run(
            arm.trains,
            arm.trained_with(),
            path,
            features=features,
            demos=self.demos,
            seed=seed,
            device=self.device,
            progress=progress,
        )
        return Kept(path, file_digest(path), "trained", training=read_policy(path).weights.training)

    def _data(self, arm: Arm, features: Path | None) -> str:
        if arm.spec.reads == "demos":
            return config_digest({"demos": [self._digest(path) for path in self.demos]})
        return "" if features is None else self._digest(features)

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = file_digest(path)
        return self._digests[path]

    def _named(self, arm: Arm, seed: int, features: Path | None) -> Kept | None:
        """What `srcli train` has left in the folder as ``METHOD-SEED.h5``, if trained from the same."""
        path = self.folder / f"{arm.trains.name}-{seed}.h5"
        if not path.exists():
            return None
        stored = read_policy(path)
        same = _recorded(stored) == _wanted(arm, seed) and stored.weights.training.get("features") == self._data(arm, features)
        return Kept(path, file_digest(path), "reused", training=stored.weights.training) if same else None

    def path(self, arm: Arm, seed: int, features: Path | None) -> Path:
        """Where the policy of an arm and seed stands that a study has trained."""
        digest = config_digest({**_wanted(arm, seed), "features": self._data(arm, features)})
        return self.folder / f"{arm.trains.name}-seed{seed}-{digest}.h5"


def _wanted(arm: Arm, seed: int) -> dict[str, Any]:
    return {"method": arm.trains.name, "settings": effective(arm.trains, arm.trained_with()), "seed": seed}


def _recorded(stored: Stored) -> dict[str, Any]:
    spec = spec_of(stored.method)
    section = stored_section(spec.section, stored.weights)
    return {"method": stored.method, "settings": effective(spec, section), "seed": stored.weights.training.get("seed")}


def given_policies(
    texts: Sequence[str],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    encoder: Callable[[], Mapping[str, Any]],
    base: Params,
) -> dict[tuple[str, int], Kept]:
    """Policies that the user names, by arm and the training seed that they record.

    ``ARM=FILE`` is for one arm; ``METHOD=FILE`` for all arms of a method that are trained as the parameters describe it.

    Raises:
        ConfigError: not of the form ``ARM=FILE``.
        UnknownNameError: no such arm.
        MismatchError: of another method, seed or encoder.
    """
    known = {arm.name: arm for arm in arms}
    given: dict[tuple[str, int], Kept] = {}
    for text in texts:
        name, path = parse_method(text)
        if path is None:
            raise ConfigError(
                f"--policy {text}: no file", f"write --policy NAME=FILE, for example {text}=results/train/policy.h5"
            )
        meant = _meant(name, arms, base)
        if not meant:
            raise unknown_name("arm", name, known)
        stored = read_policy(path)
        for arm in meant:
            given[arm.name, _checked(stored, arm, path, seeds, encoder)] = _given(stored, arm, path)
    return given


def check_given(texts: Sequence[str], arms: Sequence[Arm], seeds: Sequence[int], base: Params) -> None:
    """Refuse what :func:`given_policies` would; files that are not there yet may be what an earlier stage is going to make.

    Raises:
        SrcliError: as :func:`given_policies`.
    """
    named = [(text, *parse_method(text)) for text in texts]
    there = [text for text, name, path in named if path is None or path.exists() or not _meant(name, arms, base)]
    given_policies(there, arms, seeds, lru_cache(lambda: encoder_identity(base)), base)


def _meant(name: str, arms: Sequence[Arm], base: Params) -> list[Arm]:
    """The arms that a given policy of this name is for."""
    own = [arm for arm in arms if arm.name == name]
    return own or [a for a in arms if a.learns and a.trains.name == name and trained_as_its_method(a, base)]


def _checked(stored: Stored, arm: Arm, path: Path, seeds: Sequence[int], encoder: Callable[[], Mapping[str, Any]]) -> int:
    """The training seed of a given policy that may stand for an arm."""
    if stored.method != arm.trains.name:
        raise MismatchError(
            f"{path}: is a policy of '{stored.method}', '{arm.name}' needs one of '{arm.trains.name}'", "give the right file"
        )
    seed = int(stored.weights.training.get("seed", -1))
    if seed not in seeds:
        raise MismatchError(
            f"{path}: was trained with seed {seed}, which is not among the training seeds {list(seeds)}",
            "add it to the section's seeds, for example -S 'ablate.seeds=[0, 1]'",
        )
    recorded = stored.weights.encoder
    if recorded and recorded != dict(encoder()) and not taught_from(encoder(), recorded):
        raise MismatchError(
            f"{path}: was trained with encoder '{recorded.get('name', '?')}', not with '{encoder().get('name', '?')}'",
            "choose the recorded encoder, or give a policy of this one",
        )
    return seed


def _given(stored: Stored, arm: Arm, path: Path) -> Kept:
    differing = differing_keys(_recorded(stored), _wanted(arm, int(stored.weights.training.get("seed", -1))))
    note = f"'{arm.name}' was given and not trained as the others: {'; '.join(differing)}" if differing else ""
    return Kept(path, file_digest(path), "given", note, stored.weights.training)


def encoder_identity(params: Params, device: str = "cpu") -> dict[str, Any]:
    """Identity of the encoder of the parameters.

    Raises:
        MissingAssetError: its weights are not there.
    """
    from srcli.perception.encoders import load_encoder
    from srcli.stages.featurize import as_plain

    return as_plain(load_encoder(params.encoder, device).identity)


def check_features(path: Path, params: Params, identity: Callable[[], Mapping[str, Any]]) -> None:
    """Refuse features that the evaluation would not reproduce.

    Raises:
        ArtifactError: there is no such file; names what has to be run first.
        MismatchError: they are of another encoder, or of other points.
    """
    from srcli.artifacts.core import FEATURES as SCHEMA
    from srcli.artifacts.core import open_artifact, read_config, read_json
    from srcli.artifacts.features import ENCODER

    if not path.exists():
        raise ArtifactError(f"{path}: no features there", "first `srcli collect --task pick`, then `srcli featurize`")
    with open_artifact(path, SCHEMA) as handle:
        recorded = read_json(handle, ENCODER)
        cloud = read_config(handle).get("cloud", {})
    encoder = identity()
    if recorded != dict(encoder):
        raise MismatchError(
            f"{path}: features of encoder '{encoder_label(recorded)}', not of '{encoder_label(encoder)}'",
            "run `srcli featurize` again with this encoder, or choose the recorded one in section encoder",
        )
    ours = params.cloud.model_dump(mode="json")
    both = set(cloud) & set(ours)
    if differing := differing_keys({k: cloud[k] for k in both}, {k: ours[k] for k in both}, "cloud."):
        raise MismatchError(f"{path}: made with other parameters: {'; '.join(differing[:3])}", "run `srcli featurize` again")


def features_of(
    arms: Sequence[Arm],
    base: Params,
    features: Path | None,
    demos: Sequence[Path],
    folder: Path,
    workers: int,
    device: str,
    progress: Progress | None,
) -> dict[str, Path | None]:
    """The features file of each arm: the given one, or, where an arm sees other points, one made from the demonstrations.

    Raises:
        ArtifactError: the demonstrations are not there.
        MismatchError: the given features were made from others, so that arms would differ in more than their points.
    """
    from srcli.stages import featurize

    given = features is not None and features.exists() and all(path.exists() for path in demos)
    if features is not None and given and any(arm.params.cloud != base.cloud for arm in arms):
        _check_same_demos(features, demos, base)
    result: dict[str, Path | None] = {}
    for arm in arms:
        if arm.params.cloud == base.cloud:
            result[arm.name] = features
            continue
        if missing := [path for path in demos if not path.exists()]:
            raise ArtifactError(
                f"{missing[0]}: no demonstrations there, and '{arm.title}' needs features of its own",
                "first `srcli collect`, or name the files that the features came from with --demos",
            )
        recorded = {key: getattr(arm.params, key).model_dump(mode="json") for key in ("cloud", "encoder", "featurize")}
        path = folder / f"features-{config_digest({**recorded, 'demos': [file_digest(path) for path in demos]})}.h5"
        shown = _prefixed(progress, f"features of {arm.title}: ")
        featurize.run(arm.params, demos, path, workers=workers, device=device, progress=shown)
        result[arm.name] = path
    return result


def _check_same_demos(features: Path, demos: Sequence[Path], params: Params) -> None:
    from srcli.artifacts.core import FEATURES as SCHEMA
    from srcli.artifacts.core import open_artifact, read_config

    with open_artifact(features, SCHEMA) as handle:
        config = read_config(handle)
    sources = [source["sha256"] for source in config.get("sources", ())]
    if sources and sources != [file_digest(path) for path in demos]:
        raise MismatchError(
            f"{features}: made from other demonstrations than {', '.join(map(str, demos))}",
            "name all files that the features came from, in order, with --demos",
        )
    asked, ours = config.get("asked", {}).get("relabel", 0), params.featurize.relabel
    if asked != ours:
        raise MismatchError(f"{features}: made with featurize.relabel = {asked}, not {ours}", "set it as it was")


def _prefixed(progress: Progress | None, prefix: str) -> Progress | None:
    if progress is None:
        return None
    inner = progress
    return lambda done, total, message="": inner(done, total, prefix + message)


def collect_policies(
    store: PolicyStore, arms: Sequence[Arm], seeds: Sequence[int], features: Mapping[str, Path | None], progress: Progress | None
) -> dict[tuple[str, int], Kept]:
    """The policy of every arm that learns, and seed; arms that differ only when they act share one."""
    wanted = [(arm, seed) for seed in seeds for arm in arms if arm.learns]
    result: dict[tuple[str, int], Kept] = {}
    for number, (arm, seed) in enumerate(wanted):
        lead = f"policy {number + 1}/{len(wanted)} {arm.title}, seed {seed}"

        def told(update: int, updates: int, message: str, number: int = number, lead: str = lead) -> None:
            if progress is not None:
                progress(number * updates + update, len(wanted) * updates, f"{lead}: {message}")

        result[arm.name, seed] = store.get(arm, seed, features.get(arm.name), told)
    return result


def methods_of(
    arms: Sequence[Arm], seeds: Sequence[int], policies: Mapping[tuple[str, int], Kept], initialisations: int
) -> dict[str, tuple[Method, str, int]]:
    """What plays, by name: the method, its arm and its seed (of training, or of the initial weights of a control)."""
    found: dict[str, tuple[Method, str, int]] = {}
    for arm in arms:
        count = range(initialisations) if arm.control else tuple(seeds) if arm.learns else (0,)
        for seed in count:
            name = f"{arm.name}-seed{seed}"
            path = str(policies[arm.name, seed].path) if arm.learns else None
            found[name] = (Method(name, arm.spec.name, arm.acts_with(), path, seed), arm.name, seed)
    return found


def shipped_policies(arms: Sequence[Arm], base: Params) -> dict[tuple[str, int], Kept]:
    """The package's policies for all arms that learn.

    Empty unless it has them all, each arm is trained as its method is, and the networks are those that the parameters describe; a
    shipped policy that had another training is taken, with a note.
    """
    found: dict[tuple[str, int], Kept] = {}
    for arm in arms:
        if not arm.learns:
            continue
        try:
            path = shipped_file(arm.spec.name, base.encoder)
        except MissingAssetError:
            return {}
        stored = read_policy(path)
        recorded, wanted = _recorded(stored)["settings"], _wanted(arm, 0)["settings"]
        training = differing_keys({"train": recorded.pop("train", {})}, {"train": wanted.pop("train", {})})
        if not trained_as_its_method(arm, base) or recorded != wanted:
            return {}
        note = f"'{arm.name}' is shipped, and was trained otherwise than the parameters say: {'; '.join(training)}"
        found[arm.name, 0] = Kept(path, file_digest(path), "shipped", note if training else "", stored.weights.training)
    return found


@dataclass(frozen=True)
class Packaged:
    """The policies of the package for the arms that learn.

    Attributes:
        kept: by arm and training seed 0.
        left_out: arms whose shipped policy belongs to another encoder, each with what a reader is told.
        notes: what a reader has to know of those that are kept.
    """

    kept: Mapping[tuple[str, int], Kept]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]


def packaged_policies(arms: Sequence[Arm], base: Params, encoder: Callable[[], Mapping[str, Any]]) -> Packaged:
    """The package's policies, whatever the parameters say of training: each acts with the network that it was trained with.

    Raises:
        MissingAssetError: a method has no weights in the package, or an arm is no method but a form of one.
    """
    kept: dict[tuple[str, int], Kept] = {}
    left_out: dict[str, str] = {}
    notes: list[str] = []
    ours: dict[str, Any] = {}
    for arm in (arm for arm in arms if arm.learns):
        path = shipped_file(arm.spec.name)
        asked = _without_training(arm.trains, arm.trained_with())
        if arm.params.cloud != base.cloud or asked != _without_training(arm.trains, method_settings(base, arm.trains.name)[1]):
            raise MissingAssetError(
                f"no policy of '{arm.title}', a form of {arm.spec.title}, is shipped", "leave --shipped away to train it"
            )
        ours = ours or dict(encoder())
        with suppress(MissingAssetError):  # Another than the usual encoder may have none.
            path = shipped_file(arm.spec.name, base.encoder)
        stored = read_policy(path)
        if stored.weights.encoder != ours and not taught_from(ours, stored.weights.encoder):
            left_out[arm.name] = f"'{arm.name}' is left out: no policy of it is shipped for encoder '{encoder_label(ours)}'"
            continue
        updates = stored.weights.training.get("updates")
        notes.append(f"'{arm.name}': policy of the package" + (f", trained with {updates} updates" if updates else ""))
        differing = differing_keys(asked, _without_training(arm.trains, stored_section(arm.trains.section, stored.weights)))
        note = f"'{arm.name}' acts with the network of its weights: {'; '.join(differing[:3])}" if differing else ""
        kept[arm.name, 0] = Kept(path, file_digest(path), "shipped", note, stored.weights.training)
    return Packaged(kept, left_out, tuple(notes))


def _without_training(spec: MethodSpec, section: Section) -> dict[str, Any]:
    return {key: value for key, value in effective(spec, section).items() if key != "train"}
