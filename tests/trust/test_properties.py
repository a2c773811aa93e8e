"""Properties that hold for any input; a failing one is shown in its smallest form."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from srcli.actions.poses import canonical_poses
from srcli.artifacts.core import POLICY, create_artifact, open_artifact
from srcli.config.yamltext import LARGEST_INTEGER, parse_yaml
from srcli.errors import SrcliError
from srcli.evaluation.statistics import wilson
from srcli.evaluation.yamlcases import read_file_cases
from srcli.language.spelling import Reader, words_of
from srcli.learning.schedule import walk

# The same inputs in each run: a failure is then one of the change that is tested.
settings.register_profile(
    "srcli", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("srcli")

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_json_is_read_as_yaml(value):
    assert parse_yaml(json.dumps(value, ensure_ascii=False), "x") == value


@given(st.text(max_size=80) | st.text("[]{}:,-&*!|>%@#'\"\\ \n\tab10.~", max_size=60))
@settings(max_examples=300)
def test_any_text_is_yaml_or_told_in_two_lines(text):
    for read in (lambda: parse_yaml(text, "x"), lambda: read_file_cases(text, "x")):
        try:
            read()
        except SrcliError as error:
            assert len(error.message) < 600 and len(f"{error.message}\n{error.hint}".splitlines()) <= 2


FIELDS = st.sampled_from(
    ["cases", "task", "name", "instruction", "objects", "targets", "reference", "relation", "drops", "note", "keyword"]
)
VALUES = st.sampled_from(["pick", "place", "banana", "apple", "near", "give me the banana", "x", ""]) | PLAIN


@given(st.dictionaries(FIELDS, VALUES | st.lists(VALUES, max_size=4), max_size=6), st.booleans())
@settings(max_examples=300)
def test_any_case_is_one_or_is_told(entry, alone):
    text = json.dumps(entry if alone else {"cases": [entry]}, ensure_ascii=False)
    try:
        found = read_file_cases(text, "x")
    except SrcliError as error:
        assert error.message and len(f"{error.message}\n{error.hint}".splitlines()) <= 2
    else:
        assert found, "a file of cases has one"


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_holds_the_rate_and_is_symmetrical(counts, confidence):
    k, n = counts
    found = wilson(k, n, confidence)
    rate, low, high = found.value, found.low, found.high
    assert 0 <= low <= rate <= high <= 1 and rate == k / n
    other = wilson(n - k, n, confidence)
    assert math.isclose(other.low, 1 - high, abs_tol=1e-9) and math.isclose(other.high, 1 - low, abs_tol=1e-9)
    more = wilson(2 * k, 2 * n, confidence)
    assert more.high - more.low <= high - low + 1e-12


ANGLES = st.floats(-np.pi, np.pi)


@given(st.lists(st.tuples(ANGLES, ANGLES, ANGLES), min_size=1, max_size=5), st.floats(-1, 1))
def test_a_half_turn_of_the_jaws_is_the_same_pose(angles, height):
    rotations = Rotation.from_euler("xyz", angles)
    # Which of the two is taken hangs on the sign of a component: near 0 it is rounding's.
    assume((np.abs(rotations.as_matrix()[:, 0, 0]) > 1e-3).all() and (np.abs(rotations.as_quat()) > 1e-3).all())
    position = np.tile(np.float32([0.5, 0.0, height]), (len(angles), 1))
    poses = np.concatenate([position, rotations.as_quat()], axis=1).astype(np.float32)
    turned = (rotations * Rotation.from_euler("z", np.pi)).as_quat()
    canonical = canonical_poses(poses)
    same = canonical_poses(np.concatenate([position, turned], axis=1).astype(np.float32))
    np.testing.assert_allclose(canonical, same, atol=2e-3)
    np.testing.assert_allclose(canonical_poses(canonical), canonical, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 16), st.integers(0, 2**31), st.integers(1, 5))
@example(n=1, size=16, seed=0, epochs=1)
def test_each_epoch_is_a_permutation(n, size, seed, epochs):
    pool = np.arange(100, 100 + n)
    drawn = np.concatenate([walk(pool, update, size, seed) for update in range(-(-n * epochs // size))])
    for epoch in range(epochs):
        assert sorted(drawn[epoch * n : (epoch + 1) * n]) == list(pool)


KNOWN = frozenset(words_of("give me the red apple banana cup near box put it left of please sugar on top"))


@given(st.lists(st.sampled_from(sorted(KNOWN)), max_size=8), st.sampled_from([" ", "  ", ", ", "\n", " - "]))
def test_known_words_are_never_read_as_others(words, between):
    text = between.join(words)
    reading = Reader(KNOWN, ["put the red apple near the box"])(text)
    assert not reading.corrected and not reading.unknown and words_of(reading.text) == words_of(text)


@given(st.text(max_size=60))
@settings(max_examples=200)
def test_a_reader_accounts_for_every_word(text):
    reading = Reader(KNOWN)(text)
    typed = {word for pair in reading.corrected for word in words_of(pair[0])} | {w for u in reading.unknown for w in words_of(u)}
    plain = Reader(KNOWN, spelling=False)(text).unknown
    assert set(plain) <= typed | KNOWN, "what is not known is either read as something, or named"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "a.h5"
    with create_artifact(path, POLICY, {"seed": 1}) as handle:
        handle["numbers"] = np.arange(24, dtype=np.float32)
        handle.create_group("named").attrs["word"] = "apple"
    return path.read_bytes()


@given(st.data())
@settings(max_examples=150)
def test_a_changed_byte_is_refused_or_changes_nothing(sealed, tmp_path, data):
    place = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "b.h5"
    path.write_bytes(changed)
    try:
        with open_artifact(path, POLICY) as handle:
            assert handle["numbers"][()].tolist() == list(range(24)) and handle["named"].attrs["word"] == "apple"
    except SrcliError as error:
        assert str(path) in error.message and len(f"{error.message}\n{error.hint}".splitlines()) <= 2
