"""The methods of an evaluation: what a user names, as the rows of a table and what plays for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.digests import file_digest
from srcli.config.base import Section
from srcli.config.encoder import SEEN_ONLY
from srcli.config.tasks import BUILT_IN
from srcli.errors import ArtifactError, ConfigError, unknown_name
from srcli.methods.base import Acting, Choice, Decision, MethodSpec, Policy, Weights
from srcli.methods.policy_file import check_encoder, check_method, read_policy, stored_section
from srcli.methods.registry import (
    UNTRAINED,
    acting,
    broken,
    builder,
    code_digest,
    settings,
    shipped,
    spec_of,
    specs,
)

if TYPE_CHECKING:
    from srcli.config.encoder import EncoderConfig
    from srcli.params import Params
    from srcli.perception.encoders.interface import Encoder


@dataclass(frozen=True, slots=True)
class Method:
    """What plays: a method with its settings and weights.

    Attributes:
        name: unique in the evaluation; part of file names.
        method: its identifier.
        section: its settings, preset included.
        path: policy file of what it has learned; None for a method that learns nothing, or for an untrained control.
        seed: of the initial weights of an untrained control.
        row: the row of the table that its episodes belong to; several controls share one.
    """

    name: str
    method: str
    section: Section
    path: str | None = None
    seed: int = 0
    row: str = ""

    @property
    def label(self) -> str:
        """Name of its row."""
        return self.row or self.name

    @property
    def privileged(self) -> bool:
        """Whether it is shown the simulator's truth."""
        return spec_of(self.method).privileged

    @property
    def control(self) -> bool:
        """Whether it is the untrained form of a method that learns."""
        return self.path is None and spec_of(self.method).fit is not None

    def build(self, encoder: Encoder | None, device: str) -> Policy:
        """The policy itself.

        Raises:
            MismatchError: it has learned from another encoder's features.
            ArtifactError: its file cannot be used.
        """
        spec = spec_of(self.method)
        weights = None
        if self.path is not None:
            weights = read_policy(Path(self.path)).weights
            if encoder is not None:
                check_encoder(weights, encoder.identity.as_dict())
        made = builder(spec)(self.section, weights, encoder, device, self.seed)
        return Player(self.name, spec.privileged, made)

    def depends_on(self) -> dict[str, Any]:
        """What its episodes depend on beside the scene: its code, settings and weights."""
        spec = spec_of(self.method)
        weights: dict[str, Any] = {"policy": file_digest(self.path)} if self.path is not None else {"seed": self.seed}
        return {
            "method": self.method,
            "method_code": code_digest(self.method),
            "settings": acting(spec, self.section, self.path is not None),
            **(weights if spec.fit is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Player:
    """A method's policy under the name of its row."""

    name: str
    privileged: bool
    acting: Acting

    def act(self, decision: Decision) -> Choice:
        """The method's choice."""
        return self.acting.act(decision)


def parse_method(text: str) -> tuple[str, Path | None]:
    """``NAME`` or ``NAME=FILE`` as a method's name and its policy file."""
    name, separator, file = text.partition("=")
    if not name or (separator and not file):
        raise ConfigError(f"'{text}' is not a method", "write NAME, or NAME=FILE for a trained policy")
    return name, Path(file) if separator else None


def parse_policy(text: str) -> tuple[str, Path]:
    """``FILE`` or ``NAME=FILE`` as a name, empty where none is given, and the file.

    No name has a slash, so a folder may have ``=``, as may a file that exists.
    """
    if "=" not in text or os.sep in text.partition("=")[0] or Path(text).is_file():
        return "", Path(text)
    name, path = parse_method(text)
    assert path is not None
    return name, path


def shipped_file(name: str, encoder: EncoderConfig | None = None) -> Path:
    """The policy file that comes with a method.

    Args:
        encoder: whose features it has learned from: the embedded encoder's, or those of its weights `seen-only`. For other
            encoders nothing is shipped; the file is then that of the embedded one, which is refused when it is read.

    Raises:
        MissingAssetError: none is shipped.
    """
    return shipped(name, _weights_of(encoder))


def _weights_of(encoder: EncoderConfig | None) -> str:
    seen_only = encoder is not None and (encoder.name, encoder.pretrained) == ("embedded", SEEN_ONLY)
    return SEEN_ONLY if seen_only else ""


def resolve_methods(
    names: Sequence[str],
    policies: Sequence[Path | str],
    sections: Mapping[str, Section],
    encoder: EncoderConfig | None = None,
    initialisations: int = 1,
) -> tuple[Method, ...]:
    """Methods by name: identifiers, untrained controls, and given policy files, which are always included.

    Args:
        names: ``ID``, ``untrained:ID``, or the name of a given file.
        policies: ``FILE``, named after its method, or ``NAME=FILE``.
        sections: sections of the methods by name of the group (``methods`` of params.yaml).
        encoder: which of the shipped policies are meant; None: those of the embedded encoder.
        initialisations: initial weights of each control. The control of a given policy has that policy's network.

    Raises:
        UnknownNameError: a name that is none of them.
        MissingAssetError: a method that learns, without a file and with none shipped.
        MismatchError: a file of another method than it is named after.
        ConfigError: two methods of one name, or the control of a method that learns nothing.
    """
    given: dict[str, Method] = {}
    stored: dict[str, Weights] = {}
    for text in policies:
        name, path = parse_policy(str(text))
        if not path.is_file():
            raise ArtifactError(f"{path}: no policy there", "name a file that `srcli train` has written")
        file = read_policy(path)
        check_method(file, name, path)
        name = name or file.method
        if name in given:
            raise ConfigError(f"two policies are named '{name}'", "name them: NAME=FILE")
        # A row that is named after a method which chooses otherwise with these weights is that method's.
        method = name if name in specs() else file.method
        given[name] = Method(name, method, _section(method, sections), str(path))
        stored[name] = replace(file.weights, arrays={})
    methods: list[Method] = []
    for name in dict.fromkeys([*(n for n in given if n not in names), *names]):
        if name in given:
            methods.append(given[name])
        elif name.startswith(UNTRAINED):
            spec = spec_of(name)
            section = _of_control(spec, sections, [stored[n] for n, method in given.items() if method.method == spec.name])
            methods += [Method(f"{name}#{seed}", spec.name, section, seed=seed, row=name) for seed in range(initialisations)]
        elif name in specs() or name in broken():
            spec = spec_of(name)
            own = str(shipped_file(name, encoder)) if spec.fit is not None else None
            methods.append(Method(name, name, _section(name, sections), own))
        elif Path(name).suffix == ".h5":
            raise ConfigError(f"'{name}' is not a method", f"a policy file is given as NAME=FILE, e.g. mine={name}")
        else:
            raise unknown_name("method", name, [*specs(), *given])
    return tuple(methods)


def chosen_methods(params: Params, policies: Sequence[Path | str | Method]) -> tuple[Method, ...]:
    """The methods of ``evaluate.methods`` and given policy files; or the given methods themselves.

    Raises:
        As :func:`resolve_methods`.
    """
    made = tuple(policy for policy in policies if isinstance(policy, Method))
    if made:
        return made
    section = params.evaluate
    files = [policy for policy in policies if not isinstance(policy, Method)]
    return resolve_methods(section.methods, files, method_sections(params.methods), params.encoder, section.initialisations)


def check_tasks(methods: Sequence[Method], tasks: Iterable[str]) -> None:
    """Refuse a method that is asked for a task that it cannot do. Tasks of other packages are left to their methods.

    Raises:
        ConfigError: names the method and what it can do.
    """
    for method in methods:
        able = spec_of(method.method).tasks
        for task in tasks:
            if task in BUILT_IN and task not in able:
                raise ConfigError(
                    f"method '{method.label}' cannot do the task '{task}', only {', '.join(sorted(able))}",
                    "leave the method or the task away",
                )


def _of_control(spec: MethodSpec, sections: Mapping[str, Section], given: Sequence[Weights]) -> Section:
    """The settings of a control: those of the given policy whose control it is, of params.yaml where none is given.

    Raises:
        ConfigError: policies of the method with different settings are given.
        ArtifactError: their settings cannot be read.
    """
    section = _section(spec.name, sections)
    now = section.model_dump(mode="json")
    made = []
    for weights in given:
        # A list is of what is left out: what a policy was trained without, its control lacks too.
        acting = {
            key: [*dict.fromkeys([*weights.section.get(key, ()), *now[key]])] if isinstance(now[key], list) else now[key]
            for key in spec.acts_with
        }
        settled = stored_section(spec.section, weights, {**acting, **({"train": now["train"]} if "train" in now else {})})
        made += [settled] if settled not in made else []
    if len(made) > 1:
        raise ConfigError(
            f"the given policies of '{spec.name}' have different settings, so {UNTRAINED}{spec.name} is not one method",
            "evaluate them apart from each other, or leave their control away",
        )
    return made[0] if made else section


def _section(name: str, sections: Mapping[str, Section]) -> Section:
    spec = spec_of(name)
    return settings(spec, sections.get(spec.key, spec.section()))


def method_sections(methods: Section) -> dict[str, Section]:
    """Section ``methods`` of params.yaml by group."""
    return {name: getattr(methods, name) for name in type(methods).model_fields}
