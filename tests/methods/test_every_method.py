"""One test for every method of the registry: build, fit, save, load, act, same choice; and what it declares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from method_inputs import ENCODER, decision, from_above, placing, random_percept, write_features
from pydantic import BaseModel

from srcli.artifacts.features import FeatureDataset
from srcli.artifacts.policy import load_policy
from srcli.config.base import Section
from srcli.config.scene import SceneConfig
from srcli.methods.base import EVERY_TASK, Acting, Decision, MethodSpec, NoSettings, TrainingData
from srcli.methods.policy_file import read_policy, write_policy
from srcli.methods.registry import (
    broken,
    builder,
    code_digest,
    fitter,
    folder_of,
    load,
    parts_of,
    settings,
    spec_of,
    specs,
    studies_of,
)
from srcli.params import Params
from srcli.params.loading import override
from srcli.perception.encoders.interface import DenseFeatures
from srcli.seeding import Domain, episode_seed
from srcli.tasks import get_task
from srcli.types import U8, SceneTruth, TextEmbedding

SMALL: dict[str, Any] = {
    "network.width": 12,
    "network.heads": 2,
    "train.updates": 2,
    "train.batch_size": 2,
    "train.validate_every": 2,
    # Two updates have to tell.
    "train.warmup": 1,
    "train.lr": 0.1,
}
"""What makes a section small, where it has the key."""


class TinyEncoder:
    """As much of an encoder as a method may ask for."""

    dim = 8
    vocabulary = None

    def dense(self, rgb: U8) -> DenseFeatures:
        values = np.random.default_rng(0).normal(size=(len(rgb), 5, 5, self.dim)).astype(np.float32)
        return DenseFeatures(values / np.linalg.norm(values, axis=-1, keepdims=True))

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]:
        vectors = np.eye(self.dim, dtype=np.float32)[[len(text) % self.dim for text in texts]]
        return [TextEmbedding(vector, vector[None], np.ones(1, bool)) for vector in vectors]

    def unknown_words(self, text: str) -> tuple[str, ...]:
        return ()


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_features(tmp_path_factory.mktemp("features") / "features.h5")


def smallest(spec: MethodSpec) -> Section:
    data = spec.section().model_dump()

    def known(key: str) -> bool:
        node: Any = data
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return False
            node = node[part]
        return True

    return settings(spec, spec.section(), {key: value for key, value in SMALL.items() if known(key)})


@lru_cache(maxsize=1)
def decisions() -> tuple[Decision, ...]:
    """A pick and a placement among made-up candidates."""
    xyz = np.random.default_rng(1).normal([0.5, 0.0, 0.05], 0.03, (6, 3)).tolist()
    percept = random_percept()
    made = (decision(xyz, percept=lambda: percept), placing(xyz, percept=lambda: percept))
    return tuple(replace(each, observation=from_above()) for each in made)


def shown(made: Decision, spec: MethodSpec, seed: int = 0) -> Decision:
    """The decision with a generator of its own, and with the truth for those who declare that they see it."""
    made = replace(made, rng=np.random.default_rng(seed))
    if not spec.privileged:
        return made
    task = get_task(made.task)
    episode = task.sample(episode_seed(0, Domain.PROBE, 0), "seen", "train", SceneConfig())
    poses = np.zeros((len(episode.objects), 7))
    poses[:, 0], poses[:, 6] = np.linspace(0.4, 0.6, len(poses)), 1.0
    truth = SceneTruth(poses, np.ones(len(poses), bool), np.zeros((3, 2, 2), np.uint16))
    return replace(made, truth=truth, spec=episode, valid=np.arange(len(made.candidates)) == 2)


def choices(policy: Acting, spec: MethodSpec) -> list[tuple[Any, ...]]:
    """What it decides, as plain values; an action is a candidate that is not excluded, or a pose of its own."""
    found = []
    for made in decisions():
        if made.phase not in spec.tasks:
            continue
        given = shown(made, spec)
        choice = policy.act(given)
        action, count = choice.action, len(made.candidates)
        assert action.kind == made.candidates.kind and np.isfinite(action.pose).all()
        if action.index is not None:
            np.testing.assert_array_equal(action.pose, made.candidates.poses[action.index])
            blocked = replace(shown(made, spec), excluded=np.arange(count) == action.index)
            if not spec.privileged:
                assert policy.act(blocked).action.index != action.index
        assert choice.scores is None or choice.scores.shape == (count,)
        assert choice.mask is None or (choice.mask.min() >= 0 and choice.mask.max() <= 1)
        scores = () if choice.scores is None else tuple(choice.scores.tolist())
        found.append((action.index, tuple(action.pose.tolist()), action.width, scores))
    assert found
    return found


@pytest.mark.parametrize("name", [name for name, spec in specs().items() if not spec.weights_of])
def test_build_fit_save_load_act_same_choice(name: str, features: Path, tmp_path: Path) -> None:
    spec = spec_of(name)
    section, build = smallest(spec), builder(spec)
    if spec.fit is None:
        policy = build(section, None, TinyEncoder(), "cpu", 0)
        assert choices(policy, spec) == choices(policy, spec)
        assert choices(build(section, None, TinyEncoder(), "cpu", 0), spec) == choices(policy, spec)
        return
    assert spec.reads == "features", "demonstrations have no fixture here yet: write one for this method"
    data = TrainingData(features=FeatureDataset(features))
    told: list[tuple[int, int]] = []
    fitted = fitter(spec)(
        section,
        data,
        seed=1,
        device="cpu",
        checkpoint=tmp_path / "fit.checkpoint",
        progress=lambda done, total, text: told.append((done, total)),
    )
    assert fitted.weights and all(np.isfinite(value).all() and "/" not in key for key, value in fitted.weights.items())
    both = 2 * len(spec.tasks & {"pick", "place"})  # of each phase two are trained on
    assert fitted.updates >= 1 and fitted.samples == both and told[-1] == (fitted.updates, fitted.updates)
    path = tmp_path / f"{name}.h5"
    write_policy(path, spec, section, fitted, seed=1, encoder=ENCODER, data="digest")
    first = path.read_bytes()
    stored = read_policy(path)
    assert stored.method == load_policy(path).method == name
    assert dict(stored.weights.section) == section.model_dump(mode="json")
    assert stored.weights.encoder == ENCODER and stored.weights.training["seed"] == 1
    for key, value in fitted.weights.items():
        np.testing.assert_array_equal(stored.weights.arrays[key], value)
    policy = build(section, stored.weights, TinyEncoder(), "cpu", 0)
    before = choices(policy, spec)
    assert choices(policy, spec) == before, "the same decision twice"
    assert choices(build(section, read_policy(path).weights, TinyEncoder(), "cpu", 5), spec) == before, "loaded again"
    (tmp_path / "fit.checkpoint").unlink(missing_ok=True)
    again = fitter(spec)(section, data, seed=1, device="cpu", checkpoint=tmp_path / "again.checkpoint", progress=None)
    write_policy(path, spec, section, again, seed=1, encoder=ENCODER, data="digest")
    assert path.read_bytes() == first, "the same seed, the same bytes"
    untrained = [choices(build(section, None, TinyEncoder(), "cpu", seed), spec) for seed in (0, 0, 1)]
    assert untrained[0] == untrained[1] != untrained[2]
    assert before not in untrained, "learning changes something"


@pytest.mark.parametrize("name", specs())
def test_a_specification_is_filled_in(name: str) -> None:
    spec = spec_of(name)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name) and spec.name == name
    assert spec.title and spec.source and spec.fidelity in ("full", "reimplemented", "adapter")
    assert spec.tasks and spec.tasks <= EVERY_TASK
    assert (spec.fit is None) == (spec.reads == "nothing"), "what learns reads something, and the other way round"
    assert callable(load(spec.build)) and (spec.fit is None or callable(load(spec.fit)))
    assert spec.adopt is None or callable(load(spec.adopt))
    assert spec.fit is not None or not (spec.acts_with or spec.parts or spec.adopt or spec.learned_only)
    assert set(spec.acts_with) <= set(spec.section.model_fields)
    # Each of these is a change that the section allows.
    for changes in (spec.preset, spec.learned_only):
        settings(spec, spec.section(), changes)
    for part in parts_of(spec).values():
        settings(spec, spec.section(), part.without)
    for study in studies_of(spec).values():
        assert study.question and len(study.values) > 1
        for values in study.values.values():
            settings(spec, spec.section(), {key: value for key, value in values.items() if not key.startswith("/")})
            override(Params(), {key[1:]: value for key, value in values.items() if key.startswith("/")})
    assert len(code_digest(name)) == 64
    assert folder_of(name).startswith("methods/")


def test_none_of_ours_is_broken_and_titles_tell_them_apart() -> None:
    assert not broken()
    titles = [spec.title for spec in specs().values()]
    assert len(set(titles)) == len(titles)


def test_what_is_lent_our_candidates_stands_for_no_row_of_the_paper() -> None:
    snapped = [spec for spec in specs().values() if spec.preset.get("act.snap")]
    assert {spec.fidelity for spec in snapped} == {"adapter"} and not any(spec.paper_row for spec in snapped)
    assert {spec_of(spec.weights_of).fidelity for spec in snapped if spec.weights_of != "rvt2"} == {"adapter"}


def undocumented(section: type[BaseModel], above: str) -> list[str]:
    found = []
    for key, info in section.model_fields.items():
        if not info.description:
            found.append(f"{above}.{key}")
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found += undocumented(info.annotation, f"{above}.{key}")
    return found


def test_every_key_of_every_section_has_a_description() -> None:
    sections = {spec.key: spec.section for spec in specs().values() if spec.section is not NoSettings}
    assert {"sr", "a2"} <= set(sections)
    assert [line for key, section in sections.items() for line in undocumented(section, key)] == []
    assert all((section.__doc__ or "").strip() for section in sections.values())


def test_a_digest_names_the_method_s_own_code_alone() -> None:
    assert folder_of("sr") == folder_of("base_plus") == "methods/sr" and folder_of("a2") == "methods/a2"
    assert folder_of("random") == "methods/random.py"
    digests = {code_digest(name) for name in ("sr", "a2", "random", "quality")}
    assert len(digests) == 4 and code_digest("sr") == code_digest("sr_plus")
