"""The policies of a study: each is trained once, on features of its own points, and found again by what it was trained from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import config_digest, differing_keys, encoder_label, file_digest, output_lock
from srcli.errors import ArtifactError, MismatchError, MissingAssetError

if TYPE_CHECKING:
    from srcli.artifacts.policy import PolicyFile
    from srcli.config.encoder import EncoderConfig
    from srcli.config.noise import NoiseConfig
    from srcli.methods.sr.section import ModelConfig
    from srcli.parallel import Progress
    from srcli.params import Params

FEATURES = Path("data/features.h5")
DEMOS = (Path("data/pick.h5"), Path("data/place.h5"))
POLICIES = Path("results/policies")


@dataclass(frozen=True)
class Arm:
    """One value of what is compared.

    Attributes:
        name: a word, unique in the study; it becomes part of file names.
        title: what tables call it.
        params: all parameters under which it is trained and evaluated.
        noise: noise on what its network sees at test time.
        facts: what distinguishes it, for the results.
    """

    name: str
    title: str
    params: Params
    noise: NoiseConfig | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shelved:
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


def effective(model: ModelConfig) -> ModelConfig:
    """The section with what its variant does not use at the defaults, so that equal networks have equal configurations."""
    from srcli.methods.sr.section import DSSAConfig, EncoderBlockConfig, Stage1Config

    if model.variant in ("base", "a2"):
        plain = {"stage1": Stage1Config(), "dssa": DSSAConfig(), "encoder": EncoderBlockConfig()}
        return model.model_copy(update=plain)
    if model.variant == "sr_a":
        return model.model_copy(update={"dssa": DSSAConfig(position_rank=model.dssa.position_rank)})
    return model


class Shelf:
    """Trained policies in a folder, one file per network, training section, seed and features: nothing is trained twice.

    Args:
        folder: of the policy files; their names carry the digest of what they were trained from.
        given: policies by (arm, seed) that take the place of training.
        train: whether what is missing may be trained.
    """

    def __init__(self, folder: Path, given: Mapping[tuple[str, int], Shelved], train: bool = True, device: str = "cpu") -> None:
        self.folder, self.given, self.train, self.device = folder, dict(given), train, device
        self._digests: dict[Path, str] = {}

    def get(self, arm: Arm, seed: int, features: Path | None, progress: Callable[[int, int, str], None]) -> Shelved:
        """The policy of an arm and seed, trained if need be; a killed training goes on from its checkpoint.

        Raises:
            MissingAssetError: it is not there and may not be trained.
            MismatchError: the file under its name was trained otherwise.
        """
        if (arm.name, seed) in self.given:
            return self.given[arm.name, seed]
        if features is None:
            raise MissingAssetError(
                f"no policy for '{arm.title}' with training seed {seed}, and no features to train it on",
                "give features made with `srcli featurize`, or a policy",
            )
        path = self.path(arm, seed, features)
        model, train = effective(arm.params.model), arm.params.train
        from srcli.artifacts.policy import load_policy

        if (named := self._named(arm, seed, features)) is not None:
            return named
        if path.exists():
            stored = load_policy(path)
            wanted = {"model": model.model_dump(mode="json"), "train": train.model_dump(mode="json"), "seed": seed}
            if differing := differing_keys(_recorded(stored), wanted):
                raise MismatchError(f"{path}: was trained otherwise: {'; '.join(differing[:3])}", "remove it; it is trained anew")
            return Shelved(path, file_digest(path), "reused", training=stored.training)
        if not self.train:
            raise MissingAssetError(
                f"'{arm.title}' was not trained with seed {seed} (no {path})",
                "leave --no-train away to train it now, or give a policy with --policy NAME=FILE",
            )
        from srcli.stages import train as stage

        with output_lock(path):
            stage.run(
                model,
                train,
                features,
                path,
                seed=seed,
                device=self.device,
                progress=lambda state: progress(state.update, state.updates, f"loss {state.train_loss:.3f}"),
            )
        return Shelved(path, file_digest(path), "trained", training=load_policy(path).training)

    def _digest(self, features: Path) -> str:
        if features not in self._digests:
            self._digests[features] = file_digest(features)
        return self._digests[features]

    def _named(self, arm: Arm, seed: int, features: Path) -> Shelved | None:
        """What `srcli train` has left in the folder as ``VARIANT-SEED.h5`` or ``SPARSE-SEED.h5``, if trained from the same."""
        from srcli.artifacts.policy import load_policy
        from srcli.methods.sr.section import ModelConfig

        model, train = effective(arm.params.model), arm.params.train
        wanted = {"model": model.model_dump(mode="json"), "train": train.model_dump(mode="json"), "seed": seed}
        for name in (model.variant, model.dssa.sparse):
            path = self.folder / f"{name}-{seed}.h5"
            if not path.exists():
                continue
            stored = load_policy(path)
            recorded = {
                **_recorded(stored),
                "model": effective(ModelConfig.model_validate(stored.config)).model_dump(mode="json"),
            }
            if recorded == wanted and stored.training.get("features") == self._digest(features):
                return Shelved(path, file_digest(path), "reused", training=stored.training)
        return None

    def path(self, arm: Arm, seed: int, features: Path) -> Path:
        """Where the policy of an arm and seed stands that a study has trained."""
        model = effective(arm.params.model)
        digest = config_digest(
            {
                "model": model.model_dump(mode="json"),
                "train": arm.params.train.model_dump(mode="json"),
                "seed": seed,
                "features": self._digest(features),
            }
        )
        kind = f"sr-{model.dssa.sparse}" if model.variant == "sr" else model.variant
        return self.folder / f"{kind}-seed{seed}-{digest}.h5"


def _recorded(stored: PolicyFile) -> dict[str, Any]:
    return {"model": stored.config, "train": stored.training.get("train", {}), "seed": stored.training.get("seed")}


def given_policies(
    texts: Sequence[str], arms: Sequence[Arm], seeds: Sequence[int], encoder: Callable[[], Mapping[str, Any]]
) -> dict[tuple[str, int], Shelved]:
    """Policies that the user names, ``ARM=FILE``, by arm and the training seed that they record.

    Raises:
        ConfigError: not of the form ``ARM=FILE``.
        UnknownNameError: no such arm.
        MismatchError: of another variant, seed or encoder.
    """
    from srcli.artifacts.policy import load_policy
    from srcli.errors import ConfigError, unknown_name
    from srcli.methods.sr.policy import parse_method

    known = {arm.name: arm for arm in arms}
    given: dict[tuple[str, int], Shelved] = {}
    for text in texts:
        name, path = parse_method(text)
        if path is None:
            raise ConfigError(f"--policy {text}: no file", "write --policy NAME=FILE, for example sr=results/train/policy.h5")
        if name not in known:
            raise unknown_name("arm", name, known)
        stored = load_policy(path)
        model = effective(known[name].params.model)
        wanted = (model.variant, model.dssa.sparse)
        found = (str(stored.config.get("variant")), str(stored.config.get("dssa", {}).get("sparse", "relu2")))
        if wanted[0] != found[0] or (wanted[0] == "sr" and wanted[1] != found[1]):
            raise MismatchError(
                f"{path}: is a {'/'.join(found)} policy, '{name}' needs {'/'.join(wanted)}", "give the right file"
            )
        seed = int(stored.training.get("seed", -1))
        if seed not in seeds:
            raise MismatchError(
                f"{path}: was trained with seed {seed}, which is not among the training seeds {list(seeds)}",
                "add it to the section's seeds, for example -S 'ablate.seeds=[0, 1]'",
            )
        from srcli.methods.sr.policy_file import taught_from

        if stored.encoder != dict(encoder()) and not taught_from(encoder(), stored.encoder):
            raise MismatchError(
                f"{path}: was trained with encoder '{stored.encoder.get('name', '?')}', not with '{encoder().get('name', '?')}'",
                "choose the recorded encoder, or give a policy of this one",
            )
        ours = {"model": model.model_dump(mode="json"), "train": known[name].params.train.model_dump(mode="json"), "seed": seed}
        differing = differing_keys(_recorded(stored), ours)
        note = f"'{name}' was given and not trained as the others: {'; '.join(differing)}" if differing else ""
        given[name, seed] = Shelved(path, file_digest(path), "given", note, stored.training)
    return given


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
    from srcli.artifacts.core import open_artifact, read_config

    if not path.exists():
        raise ArtifactError(f"{path}: no features there", "first `srcli collect --task pick`, then `srcli featurize`")
    with open_artifact(path, SCHEMA) as handle:
        recorded = json.loads(handle.attrs["encoder"])
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
    """
    from srcli.stages import featurize

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
        settings = {key: getattr(arm.params, key).model_dump(mode="json") for key in ("cloud", "encoder", "featurize")}
        path = folder / f"features-{config_digest({**settings, 'demos': [file_digest(path) for path in demos]})}.h5"
        shown = _prefixed(progress, f"features of {arm.title}: ")
        featurize.run(arm.params, demos, path, workers=workers, device=device, progress=shown)
        result[arm.name] = path
    return result


def _prefixed(progress: Progress | None, prefix: str) -> Progress | None:
    if progress is None:
        return None
    inner = progress
    return lambda done, total, message="": inner(done, total, prefix + message)


def collect_policies(
    shelf: Shelf, arms: Sequence[Arm], seeds: Sequence[int], features: Mapping[str, Path | None], progress: Progress | None
) -> dict[tuple[str, int], Shelved]:
    """The policy of every arm and seed; arms that differ only at test time share one."""
    wanted = [(arm, seed) for seed in seeds for arm in arms]
    result: dict[tuple[str, int], Shelved] = {}
    for number, (arm, seed) in enumerate(wanted):
        lead = f"policy {number + 1}/{len(wanted)} {arm.title}, seed {seed}"

        def told(update: int, updates: int, message: str, number: int = number, lead: str = lead) -> None:
            if progress is not None:
                progress(number * updates + update, len(wanted) * updates, f"{lead}: {message}")

        result[arm.name, seed] = shelf.get(arm, seed, features.get(arm.name), told)
    return result


def shipped_policies(names: Mapping[str, str], encoder: EncoderConfig) -> dict[str, Shelved]:
    """The package's policies of an encoder by arm, of the names that it ships them under; empty unless it has them all."""
    from srcli.artifacts.core import file_digest
    from srcli.artifacts.policy import load_policy
    from srcli.methods.sr.policy import shipped_policy

    found: dict[str, Shelved] = {}
    for arm, name in names.items():
        try:
            path = shipped_policy(name, encoder)
        except MissingAssetError:
            return {}
        found[arm] = Shelved(path, file_digest(path), "shipped", training=load_policy(path).training)
    return found
