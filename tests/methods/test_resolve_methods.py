"""What a user names becomes rows: identifiers, untrained controls, policy files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from method_inputs import decision, random_percept, sr_section

from srcli.artifacts.policy import save_policy
from srcli.config.choice import WITH_QUALITY
from srcli.config.encoder import SEEN_ONLY, EncoderConfig
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError, UnknownNameError
from srcli.evaluation.methods import Method, check_tasks, method_sections, parse_method, resolve_methods, shipped_file
from srcli.methods.base import Fitted
from srcli.methods.policy_file import check_encoder, read_policy, write_policy
from srcli.methods.registry import fitter, spec_of, specs
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import SRConfig
from srcli.params import Params, method_settings
from srcli.perception.encoders.loading import load_encoder

SECTIONS = {"sr": sr_section()}


class TinyEncoder:
    """As much of an encoder as an untrained network asks for."""

    dim = 8


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    """An untrained sr_plus for features of width 8, made for the encoder ``tiny``."""
    section = sr_section(network__width=16, network__heads=2)
    network = build_network(section, 8, 0)
    weights = {name: value.detach().numpy() for name, value in network.named_parameters()}
    path = tmp_path / "tiny.h5"
    fitted = Fitted(weights, facts={"feature_dim": 8})
    write_policy(path, spec_of("sr_plus"), section, fitted, seed=0, encoder={"name": "tiny"}, data="")
    return path


def test_names_are_known_and_a_misspelt_one_is_met_with_the_closest() -> None:
    assert {"random", "quality", "similarity", "beside", "expert", "sr", "sr_plus", "a2"} <= set(specs())
    for ask in (spec_of, lambda name: resolve_methods([name], [], {})):
        with pytest.raises(UnknownNameError, match="method 'similarty'") as caught:
            ask("similarty")
        assert "did you mean 'similarity'" in caught.value.hint


def test_a_method_is_not_asked_for_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    picks_only = replace(spec_of("random"), tasks=frozenset({"pick"}))
    monkeypatch.setattr("srcli.evaluation.methods.spec_of", lambda name: picks_only)
    method = Method("random", "random", picks_only.section())
    check_tasks([method], ["pick", "a-task-of-my-own"])
    with pytest.raises(ConfigError, match="method 'random' cannot do the task 'place', only pick"):
        check_tasks([method], ["pick", "place"])


def test_method_names() -> None:
    assert parse_method("random") == ("random", None)
    name, path = parse_method("mine=a/b.h5")
    assert name == "mine" and path is not None and path.name == "b.h5"
    for text in ("mine=", "=a.h5", ""):
        with pytest.raises(ConfigError, match="not a method"):
            parse_method(text)


def test_identifiers_files_and_controls_become_rows_in_the_order_of_their_names(policy_file: Path) -> None:
    methods = resolve_methods(["random", "untrained:sr", "mine"], [f"mine={policy_file}"], SECTIONS, initialisations=3)
    assert [m.name for m in methods] == ["random", "untrained:sr#0", "untrained:sr#1", "untrained:sr#2", "mine"]
    assert [m.label for m in methods] == ["random", *["untrained:sr"] * 3, "mine"]
    assert [m.control for m in methods] == [False, True, True, True, False]
    assert [m.seed for m in methods[1:4]] == [0, 1, 2]
    assert methods[-1].method == "sr_plus" and methods[-1].path == str(policy_file)


def test_a_given_file_is_always_there_and_named_after_its_method(policy_file: Path) -> None:
    assert [m.name for m in resolve_methods(["random"], [policy_file], SECTIONS)] == ["sr_plus", "random"]
    with pytest.raises(ConfigError, match="two policies are named 'sr_plus'"):
        resolve_methods([], [policy_file, policy_file], SECTIONS)
    with pytest.raises(MismatchError, match=r"is a policy of 'sr_plus', not of 'sr'"):
        resolve_methods([], [f"sr={policy_file}"], SECTIONS)
    with pytest.raises(ArtifactError, match=r"absent\.h5: no policy there"):
        resolve_methods([], ["mine=absent.h5"], SECTIONS)
    with pytest.raises(ConfigError, match=r"is not a method") as caught:
        resolve_methods([str(policy_file)], [], SECTIONS)
    assert "NAME=FILE" in caught.value.hint


def test_a_path_with_an_equals_sign_is_a_file_where_there_is_one(policy_file: Path) -> None:
    path = policy_file.parent / "lr=0.1" / "p.h5"
    path.parent.mkdir()
    path.write_bytes(policy_file.read_bytes())
    for text, name in ((str(path), "sr_plus"), (f"mine={path}", "mine")):
        (method,) = resolve_methods([], [text], SECTIONS)
        assert (method.name, method.path) == (name, str(path))
    absent = str(path.with_name("absent.h5"))
    with pytest.raises(ArtifactError) as caught:
        resolve_methods([], [absent], SECTIONS)
    assert absent in str(caught.value)


def test_a_method_may_act_with_what_another_has_learned(tmp_path: Path) -> None:
    """SR's weights, and the quality of the grasps in the choice: the row is the second one's, the network the file's."""
    section = sr_section("sr", network__width=16, network__heads=2)
    weights = {name: value.detach().numpy() for name, value in build_network(section, 8, 0).named_parameters()}
    path = tmp_path / "tiny.h5"
    fitted = Fitted(weights, facts={"feature_dim": 8})
    write_policy(path, spec_of("sr"), section, fitted, seed=0, encoder={"name": "tiny"}, data="")
    rows = resolve_methods(["sr", "sr_quality", "untrained:sr_quality"], [f"sr={path}", f"sr_quality={path}"], SECTIONS)
    assert [row.method for row in rows] == ["sr", "sr_quality", "sr_quality"] and rows[1].path == str(path)
    percept = random_percept()
    made = decision(np.random.default_rng(1).normal([0.5, 0, 0.05], 0.04, (6, 3)).tolist(), percept=lambda: percept)
    alone, rated = (row.build(None, "cpu").act(made).scores for row in rows[:2])
    assert alone is not None and rated is not None
    quality = np.maximum(made.candidates.quality.astype(np.float64), 0.01)
    np.testing.assert_allclose(rated, alone + WITH_QUALITY["prior"] * np.log(quality), atol=1e-4)
    for other in ("base_quality", "sr_plus"):
        with pytest.raises(MismatchError, match=f"is a policy of 'sr', not of '{other}'"):
            resolve_methods([], [f"{other}={path}"], SECTIONS)
    with pytest.raises(ConfigError, match="'sr_quality' acts with a policy of 'sr'"):
        fitter(spec_of("sr_quality"))


def test_what_learns_nothing_has_no_control_and_what_has_no_weights_says_how_to_get_them() -> None:
    with pytest.raises(ConfigError, match="'random' learns nothing, so it has no untrained control"):
        resolve_methods(["untrained:random"], [], {})
    with pytest.raises(UnknownNameError, match="method 'nothing_of_that_name'"):
        resolve_methods(["untrained:nothing_of_that_name"], [], {})
    with pytest.raises(MissingAssetError, match="no policy 'sr_softmax' is shipped") as caught:
        resolve_methods(["sr_softmax"], [], {})
    assert "srcli train --method sr_softmax" in caught.value.hint


def test_a_control_follows_from_its_seed_and_acts(policy_file: Path) -> None:
    percept = random_percept()
    made = decision(np.random.default_rng(1).normal([0.5, 0, 0.05], 0.04, (6, 3)).tolist(), percept=lambda: percept)
    section = {"sr": sr_section("sr", network__width=12, network__heads=2)}
    controls = [*resolve_methods(["untrained:sr"], [], section, initialisations=2)]
    again = resolve_methods(["untrained:sr"], [], section)[0]
    scores = [m.build(TinyEncoder(), "cpu").act(made).scores for m in (*controls, again)]  # type: ignore[arg-type]
    np.testing.assert_array_equal(scores[0], scores[2])
    assert np.abs(scores[0] - scores[1]).max() > 1e-4  # type: ignore[operator]
    with pytest.raises(ArtifactError, match="needs an encoder"):
        controls[0].build(None, "cpu")
    player = resolve_methods(["mine"], [f"mine={policy_file}"], SECTIONS)[0].build(None, "cpu")
    assert player.name == "mine" and not player.privileged and player.act(made).action.index is not None


def test_an_identifiers_preset_beats_the_section_and_what_was_fitted_beats_both(policy_file: Path) -> None:
    """Choice and noise follow the parameters; the network is the file's."""
    sections = {"sr": SRConfig.model_validate({"network": {"width": 40}, "choice": {"prior": 3.0}})}
    strict = resolve_methods(["untrained:sr"], [], sections)[0].section
    plus = resolve_methods(["untrained:sr_plus"], [], sections)[0].section
    assert isinstance(strict, SRConfig) and isinstance(plus, SRConfig)
    assert (strict.choice.prior, plus.choice.prior) == (0.0, 3.0)
    assert (strict.additions.rings, plus.additions.rings) == ("off", "on")
    percept = random_percept()
    mine = resolve_methods([], [f"mine={policy_file}"], sections)[0]
    mine.build(None, "cpu").act(decision([[0.5, 0.0, 0.05]] * 3, percept=lambda: percept))


def test_episodes_depend_on_weights_choice_and_code_and_not_on_how_it_was_trained(policy_file: Path) -> None:
    def facts(name: str, **changes: object) -> dict[str, object]:
        given = [f"mine={policy_file}"] if name == "mine" else []
        return resolve_methods([name], given, {"sr": sr_section("sr_plus", **changes)})[-1].depends_on()

    fitted = facts("mine")
    assert {"method", "method_code", "settings", "policy"} == set(fitted)
    assert facts("mine", train__updates=7) == fitted == facts("mine", network__heads=2)
    assert facts("mine", choice__prior=7.0) != fitted != facts("mine", bypass=["rings"])
    control = facts("untrained:sr_plus")
    assert facts("untrained:sr_plus", train__updates=7) == control != facts("untrained:sr_plus", network__heads=2)
    assert "seed" in control and "policy" not in control
    assert set(resolve_methods(["random"], [], {})[0].depends_on()) == {"method", "method_code", "settings"}


def test_another_encoder_is_refused_and_one_taught_from_it_is_taken_with_a_warning(
    policy_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = read_policy(policy_file).weights
    check_encoder(weights, {"name": "tiny"})
    with pytest.raises(MismatchError, match="trained with encoder 'tiny "):
        check_encoder(weights, {"name": "other"})
    weights = replace(weights, encoder={"name": "tiny", "sha256": "a"})
    assert not caplog.records
    check_encoder(weights, {"name": "tiny", "sha256": "c", "parents": ["a", "b"]})
    assert "that this one was taught from" in caplog.text
    with pytest.raises(MismatchError, match="trained with encoder"):
        check_encoder(weights, {"name": "tiny", "sha256": "c", "parents": ["b"]})
    # What reads no features goes with every encoder.
    check_encoder(replace(weights, encoder={}), {"name": "other"})


def test_a_file_of_a_method_that_is_not_installed_names_it(tmp_path: Path) -> None:
    save_policy(tmp_path / "gone.h5", {"w": np.ones(1, np.float32)}, {}, {}, {}, {}, method="gone_method")
    with pytest.raises(UnknownNameError, match="unknown method 'gone_method'"):
        resolve_methods([], [f"mine={tmp_path / 'gone.h5'}"], {})


def test_parameters_give_each_identifier_its_section() -> None:
    params = Params()
    sections = method_sections(params.methods)
    assert {"sr", "a2"} <= set(sections)
    spec, section = method_settings(params, "sr_a", {"network.heads": 2})
    assert spec.name == "sr_a" and isinstance(section, SRConfig)
    assert (section.network.heads, section.network.dssa.branch) == (2, "dense")
    with pytest.raises(ConfigError, match=r"methods\.sr\.network\.head"):
        method_settings(params, "sr", {"network.head": 2})


@pytest.mark.parametrize("pretrained", ["", SEEN_ONLY])
def test_the_policies_shipped_for_an_encoder_are_of_its_features(pretrained: str) -> None:
    config = EncoderConfig(pretrained=pretrained)
    identity = load_encoder(config).identity.as_dict()
    for name in ("base_plus", "sr_a_plus", "sr_plus"):
        stored = read_policy(shipped_file(name, config))
        assert stored.method == name
        check_encoder(stored.weights, identity)
    # Those of the other weights are refused.
    other = read_policy(shipped_file("sr_plus", EncoderConfig(pretrained="" if pretrained else SEEN_ONLY)))
    with pytest.raises(MismatchError, match="trained with encoder"):
        check_encoder(other.weights, identity)


def test_what_is_not_shipped_for_an_encoder_is_said() -> None:
    with pytest.raises(
        MissingAssetError, match="no policy 'sr_plus_relu' is shipped with this package for encoder embedded/seen-only"
    ):
        shipped_file("sr_plus_relu", EncoderConfig(pretrained=SEEN_ONLY))
    other = EncoderConfig(name="ViT-L-14-quickgelu", pretrained="openai")
    assert shipped_file("sr_plus_relu", other) == shipped_file("sr_plus_relu")


def test_the_control_of_a_given_policy_has_its_network(policy_file: Path, tmp_path: Path) -> None:
    """params.yaml may have changed since it was trained; how it chooses follows the parameters, for both."""
    sections = {"sr": SRConfig.model_validate({"network": {"width": 40}, "choice": {"prior": 3.0}, "bypass": ["sink"]})}
    (policy,) = resolve_methods([], [policy_file], sections)
    control = resolve_methods(["untrained:sr_plus"], [policy_file], sections)[-1].section
    assert isinstance(control, SRConfig) and isinstance(policy.section, SRConfig)
    assert (control.network.width, control.choice.prior, control.bypass) == (16, 3.0, ("sink",))
    assert policy.section.choice == control.choice
    # Another method's control is of params.yaml, given files or not.
    other = resolve_methods(["untrained:base_plus"], [policy_file], sections)[-1].section
    assert isinstance(other, SRConfig) and other.network.width == 40

    wider = tmp_path / "wider.h5"
    file = read_policy(policy_file)
    section = SRConfig.model_validate_json(json.dumps(file.weights.section))
    section = section.model_copy(update={"network": section.network.model_copy(update={"heads": 1})})
    fitted = Fitted(dict(file.weights.arrays), facts={"feature_dim": 8})
    write_policy(wider, spec_of("sr_plus"), section, fitted, seed=0, encoder={"name": "tiny"}, data="")
    with pytest.raises(ConfigError, match="given policies of 'sr_plus' have different settings"):
        resolve_methods(["untrained:sr_plus"], [policy_file, f"wider={wider}"], sections)
