"""The quality score: fitted, stored, and as it comes with the package."""

import json

import numpy as np
import pytest

from srcli.actions.features import FEATURES
from srcli.actions.quality import QualityModel, between_steps, fit, quality_model, rounded
from srcli.errors import ArtifactError


def outcomes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, true probabilities and drawn outcomes; only the first two features matter."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, len(FEATURES))).astype(np.float32)
    probability = 1 / (1 + np.exp(-(1.5 * features[:, 0] - 2.0 * np.abs(features[:, 1]) + 1.0)))
    return features, probability, rng.random(count) < probability


def test_fit_is_calibrated_and_hidden_units_find_what_a_line_cannot() -> None:
    features, _, held = outcomes(3000, 0)
    fresh, truth, fresh_held = outcomes(3000, 1)
    errors = []
    for hidden in (0, 6):
        score = fit(features, held, hidden=hidden, decay=1e-3).score(fresh)
        for low, high in ((0.0, 0.3), (0.3, 0.6), (0.6, 1.0)):
            group = (score >= low) & (score < high)
            assert abs(score[group].mean() - fresh_held[group].mean()) < 0.12
        errors.append(float(np.abs(score - truth).mean()))
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("hidden", [0, 3])
def test_model_survives_its_file(hidden: int) -> None:
    features, _, held = outcomes(200, 2)
    model = fit(features, held, hidden=hidden)
    again = QualityModel.from_json(model.to_json())
    np.testing.assert_allclose(again.score(features), model.score(features), atol=1e-4)


def test_score_is_added_up_in_double_precision() -> None:
    """To the last bit what sums of single numbers give: single precision would differ in most of them."""
    features = outcomes(500, 3)[0]
    model = quality_model()
    x = np.clip((features - model.mean) / model.scale, -4.0, 4.0)
    hidden = np.tanh((x[:, None] * model.hidden_weight).sum(axis=2) + model.hidden_bias)
    logit = (hidden * model.output_weight).sum(axis=1) + (x * model.linear).sum(axis=1) + model.bias
    np.testing.assert_array_equal(model.score(features), (1 / (1 + np.exp(-logit))).astype(np.float32))


def test_qualities_are_rounded_and_what_is_near_the_middle_is_told() -> None:
    values = np.array([0.0, 0.12344, 0.12346, 0.123449999, 0.99996, 1.0])
    assert rounded(values).tolist() == [np.float32(v) for v in (0.0, 0.1234, 0.1235, 0.1234, 1.0, 1.0)]
    assert between_steps(values, 1e-8).tolist() == [False, False, False, True, False, False]
    many = np.random.default_rng(0).random(5000)
    np.testing.assert_array_equal(rounded(rounded(many)), rounded(many))
    sure = ~between_steps(many, 4e-7)
    assert 0.98 < sure.mean() < 1.0
    for noise in (-4e-7, 4e-7):
        changed = rounded(many + noise) != rounded(many)
        assert changed.any(), "rounding alone does not undo every difference"
        assert not changed[sure].any()


def test_model_for_other_features_is_refused() -> None:
    data = json.loads(quality_model().to_json())
    data["features"] = ["something else", *data["features"][1:]]
    with pytest.raises(ArtifactError, match="other features"):
        QualityModel.from_json(json.dumps(data))


def test_packaged_model_prefers_a_firm_grip() -> None:
    firm = dict.fromkeys(FEATURES, 0.0) | {
        "opening": 5.5, "closed_width": 4.0, "engagement_less": 3.0, "engagement_more": 3.2, "top": 3.5, "contact_less": 1.0,
        "contact_more": 1.0, "solidity": 1.0, "run_short": 2.0, "run_long": 2.5, "run_tip_short": 2.0, "run_tip_long": 2.5,
        "tip_height": 1.0, "hand_room": 2.5, "around": 0.5, "finger_room": 2.0, "generous_room": 1.5,
    }  # fmt: skip
    weak = firm | {
        "engagement_less": 0.5, "top": 1.0, "contact_less": 0.15, "contact_more": 0.4, "skew_less": 1.0, "skew_more": 2.0,
        "lean_less": 2.0, "lean_more": 3.0, "solidity": 0.4, "finger_room": 0.3, "generous_room": -2.0,
    }  # fmt: skip
    table = np.array([[case[name] for name in FEATURES] for case in (firm, weak)], dtype=np.float32)
    score = quality_model().score(table)
    assert score[0] > 0.75 and score[1] < 0.5
