"""What compositional sentences mean: truth against geometry worked out anew, margins, and scenes that are drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from srcli.config.scene import SceneConfig
from srcli.errors import UnknownNameError
from srcli.language.phrases import DIRECTIONS, PHRASE_KINDS, Phrase, PhraseKind, is_called, may_be_called
from srcli.objects import build, catalogue, color_shares, in_band, look_variation
from srcli.objects.palette import color_words, palette
from srcli.seeding import Domain, episode_seed
from srcli.tasks import get_task
from srcli.tasks.base import Settles
from srcli.tasks.composed import APART, LEAD, NEXT_TO, has_attribute, meaning, phrase_of, size_of
from srcli.tasks.composing import LAYOUTS
from srcli.tasks.outlines import body, gap, hull_2d, matrix, outline
from srcli.tasks.pick import PickTask
from srcli.types import F64, OWN_LOOK, Goal, Look, SceneTruth

CONFIG = SceneConfig()
TASK = PickTask()
STANDING = (0.0, 0.0, 0.0, 1.0)


def _truth(
    objects: tuple[str, ...], places: list[tuple[float, float]], looks: tuple[Look, ...] = (), **more: object
) -> SceneTruth:
    """Objects that stand as they are modelled at (x, y) on the table."""
    poses = np.zeros((len(objects), 7))
    poses[:, 3:] = STANDING
    for slot, (name, (x, y)) in enumerate(zip(objects, places, strict=True)):
        scale = looks[slot].scale if looks else 1.0
        poses[slot, :3] = x, y, -float(body(name).points[:, 2].min()) * scale
    contacts = tuple((-1, slot) for slot in range(len(objects)))
    return SceneTruth(
        poses, np.ones(len(objects), dtype=np.bool_), np.zeros((0, 0, 0), np.uint16), more.get("contacts", contacts)
    )  # type: ignore[arg-type]


def _targets(phrase: Phrase, objects: tuple[str, ...], places: list[tuple[float, float]], looks: tuple[Look, ...] = ()) -> object:
    found = meaning(phrase, objects, looks, _truth(objects, places, looks))
    return None if found is None else found.targets


# ------------------------------------------------------------------------------------------------------------------ geometry


def _samples(name: str, pose: F64, scale: float = 1.0) -> F64:
    """Dense points on the border of an object's outline from above, made from its shape without the functions under test."""
    points = (body(name).points * scale) @ matrix(pose[3:]).T + pose[:3]
    ring = hull_2d(points[:, :2])
    closed = [*ring, ring[0]]
    return np.array([a + (b - a) * t for a, b in pairwise(closed) for t in np.linspace(0, 1, 60, endpoint=False)])


def test_the_gap_of_outlines_is_the_least_distance_of_their_borders() -> None:
    rng = np.random.default_rng(3)
    names = catalogue().names
    apart = 0
    for _ in range(40):
        pair = [names[int(i)] for i in rng.integers(len(names), size=2)]
        poses = [np.array([*rng.uniform(-0.12, 0.12, 2), 0.1, *q]) for q in rng.normal(size=(2, 4))]
        for pose in poses:
            pose[3:] /= np.linalg.norm(pose[3:])
        a, b = (_samples(name, pose) for name, pose in zip(pair, poses, strict=True))
        brute = float(np.linalg.norm(a[:, None] - b[None], axis=2).min())
        found = gap(*(outline(name, pose).footprint for name, pose in zip(pair, poses, strict=True)))
        if found > 0:
            apart += 1
            assert found == pytest.approx(brute, abs=0.004)
        else:
            # Overlapping borders cross, or one lies within the other.
            inner = a if np.ptp(a, axis=0).prod() < np.ptp(b, axis=0).prod() else b
            outer = b if inner is a else a
            assert brute < 0.004 or bool(((inner >= outer.min(axis=0)) & (inner <= outer.max(axis=0))).all())
    assert 10 < apart < 40


def test_crossed_bars_overlap_although_no_corner_of_one_lies_in_the_other() -> None:
    bar = np.array([[-0.1, -0.01], [0.1, -0.01], [0.1, 0.01], [-0.1, 0.01]])
    assert gap(bar, bar[:, ::-1][::-1]) == 0.0
    assert gap(bar, bar + np.array([0.0, 0.05])) == pytest.approx(0.03)


def test_a_scaled_object_has_a_scaled_outline_and_size() -> None:
    pose = np.array([0.5, 0.0, 0.04, *STANDING])
    small, large = outline("yellow_cup", pose), outline("yellow_cup", pose, 1.2)
    assert np.allclose(large.half, small.half * 1.2, atol=1e-9) and large.opening is not None
    volume, side = size_of("yellow_cup")
    scaled = size_of("yellow_cup", Look(scale=1.2))
    assert scaled == pytest.approx((volume * 1.2**3, side * 1.2))
    model = build(catalogue()["yellow_cup"], look_variation(catalogue()["yellow_cup"], Look(scale=1.2)))
    assert side * 1.2 == pytest.approx(float(model.extent.max()), rel=0.02)


# ------------------------------------------------------------------------------------------------------------------ meaning

BOTTLES = ("blue_moon", "magic_clean", "red_marker")


@pytest.mark.parametrize(
    ("word", "offset"),
    [("leftmost", (0.0, 1.0)), ("rightmost", (0.0, -1.0)), ("frontmost", (-1.0, 0.0)), ("rearmost", (1.0, 0.0))],
)
def test_directions_are_seen_from_the_tables_front(word: str, offset: tuple[float, float]) -> None:
    """From the arm's side: left is +y, right -y, the front is the edge at small x."""
    x, y = offset
    places = [(0.5 + 0.1 * x, 0.1 * y), (0.5 - 0.1 * x, -0.1 * y), (0.5 + 0.1 * y, 0.1 * x)]
    assert _targets(Phrase("superlative", "bottle", word), BOTTLES, places) == (0,)


def test_a_direction_needs_its_margin() -> None:
    twins = ("blue_moon", "blue_moon", "red_marker")
    phrase = Phrase("superlative", "bottle", "leftmost")
    for lead, answer in ((LEAD + 0.002, (0,)), (LEAD - 0.002, None)):
        assert _targets(phrase, twins, [(0.4, 0.05), (0.6, 0.05 - lead), (0.5, -0.2)]) == answer
    # An object whose middle is farther, but whose outline is reached beyond by a longer one, is in doubt.
    turned = _truth(("darlie_box", "gelatin_box", "red_marker"), [(0.4, 0.0), (0.6, 0.04), (0.5, -0.2)])
    turned.poses[0, 3:] = 0, 0, np.sin(np.pi / 4), np.cos(np.pi / 4)
    assert meaning(Phrase("superlative", "box", "leftmost"), ("darlie_box", "gelatin_box", "red_marker"), (), turned) is None


def test_the_largest_is_so_as_it_is_shown() -> None:
    twins, places = ("yellow_cup", "yellow_cup", "red_marker"), [(0.4, 0.1), (0.6, 0.1), (0.5, -0.2)]
    for scales, largest, smallest in (((1.2, 1.0), (0,), (1,)), ((0.85, 1.1), (1,), (0,)), ((1.05, 1.0), None, None)):
        looks = (*(Look(scale=scale) for scale in scales), OWN_LOOK)
        assert _targets(Phrase("superlative", "cup", "largest"), twins, places, looks) == largest
        assert _targets(Phrase("superlative", "cup", "smallest"), twins, places, looks) == smallest
    boxes = ("suger_1", "gelatin_box", "red_marker")
    assert _targets(Phrase("superlative", "box", "largest"), boxes, places) == (0,)


def test_next_to_needs_a_gap_that_is_small_and_another_that_is_not() -> None:
    objects = ("yellow_cup", "yellow_cup", "pink_tea_box")
    cup, box = outline("yellow_cup", np.array([0, 0, 0, *STANDING])), outline("pink_tea_box", np.array([0, 0, 0, *STANDING]))
    touching = float(cup.half[0] + box.half[0])
    phrase = Phrase("reference", "cup", "next to", "tea box")
    for near, far, answer in (
        (NEXT_TO - 0.005, APART + 0.01, (0,)),
        (NEXT_TO + 0.015, APART + 0.01, None),
        (NEXT_TO - 0.005, APART - 0.01, None),
        (NEXT_TO - 0.005, NEXT_TO - 0.005, None),
    ):
        # Which coordinate a box's middle has follows from the outlines; both stand along x.
        places = [(0.5 + touching + near, 0.0), (0.5 - touching - far, 0.0), (0.5, 0.0)]
        found = meaning(phrase, objects, (), _truth(objects, places))
        assert (None if found is None else found.targets) == answer
        assert found is None or found.references == (2,)


def test_what_stands_on_the_reference_is_not_next_to_it() -> None:
    objects = ("yellow_cup", "yellow_cup", "pink_tea_box")
    truth = _truth(objects, [(0.5, 0.09), (0.5, -0.2), (0.5, 0.0)])
    phrase = Phrase("reference", "cup", "next to", "tea box")
    assert meaning(phrase, objects, (), truth) is not None
    carried = _truth(objects, [(0.5, 0.09), (0.5, -0.2), (0.5, 0.0)], contacts=((0, 2), (-1, 1), (-1, 2)))
    assert meaning(phrase, objects, (), carried) is None


def test_in_means_inside_the_opening_and_below_the_rim() -> None:
    objects = ("gelatin_box", "gelatin_box", "yellow_bowl")
    phrase = Phrase("reference", "box", "in", "bowl")
    assert _targets(phrase, objects, [(0.5, 0.0), (0.5, 0.2), (0.5, 0.0)]) == (0,)
    raised = _truth(objects, [(0.5, 0.0), (0.5, 0.2), (0.5, 0.0)])
    raised.poses[0, 2] += 0.2
    assert meaning(phrase, objects, (), raised) is None
    assert _targets(phrase, objects, [(0.5, 0.0), (0.5, 0.0), (0.5, 0.0)]) is None
    overturned = _truth(objects, [(0.5, 0.0), (0.5, 0.2), (0.5, 0.0)])
    overturned.poses[2, 3:] = 1.0, 0.0, 0.0, 0.0
    assert meaning(phrase, objects, (), overturned) is None


def test_colours_are_those_that_are_shown() -> None:
    places = [(0.4, 0.1), (0.6, 0.1), (0.4, -0.1), (0.6, -0.1)]
    objects, phrase = ("yellow_cup", "yellow_cup", "gelatin_box", "red_marker"), Phrase("attribute_noun", "cup", "red")
    assert _targets(phrase, objects, places) is None
    looks = (OWN_LOOK, Look(color="red"), OWN_LOOK, OWN_LOOK)
    assert _targets(phrase, objects, places, looks) == (1,)
    assert _targets(Phrase("attribute_noun", "cup", "yellow"), objects, places, looks) == (0,)
    # White is on every bottle here, but not the word for all: a bottle a third of which is white is in doubt.
    assert has_attribute("shampoo", "white") is None and has_attribute("shampoo", "purple") is True
    assert _targets(Phrase("attribute_noun", "bottle", "white"), ("bleach_cleanser", "shampoo", "red_marker"), places[:3]) is None


def test_a_recoloured_object_shows_other_words() -> None:
    checked = 0
    for name in catalogue().names:
        entry = catalogue()[name]
        own = palette()[entry.main_color].word
        if not entry.recolor or "purple" in entry.colors or own not in entry.attributes:
            continue
        checked += 1
        before, after = color_shares(entry), color_shares(entry, look_variation(entry, Look(color="purple")))
        # The main colour's surface is purple now; what other parts show of its word stays.
        assert after["purple"] == pytest.approx(before[own] - after.get(own, 0.0))
        assert after["purple"] > 0 and has_attribute(name, own, Look(color="purple")) is not True
    assert checked > 40


def test_doubt_about_a_noun_or_a_covered_target() -> None:
    phrase = Phrase("superlative", "bottle", "leftmost")
    assert _targets(phrase, ("blue_moon", "magic_clean", "repellent"), [(0.5, 0.1), (0.5, -0.1), (0.6, 0.0)]) is None
    assert _targets(phrase, BOTTLES, [(0.5, 0.1), (0.5, -0.1), (0.5, 0.1)]) is None
    gone = _truth(BOTTLES, [(0.5, 0.1), (0.5, -0.1), (0.6, 0.0)])
    gone.present[0] = False
    assert meaning(phrase, BOTTLES, (), gone) is None


# ------------------------------------------------------------------------------------------------------------------- scenes


def _specs(kind: PhraseKind, split: str, count: int = 12, wording: str = "train") -> list:
    seeds = [episode_seed(0, Domain.DEVELOPMENT, 600_000_000 + i) for i in range(count)]
    return [TASK.compose(seed, split, wording, kind, CONFIG) for seed in seeds]


@pytest.mark.parametrize("split", ["seen", "unseen"])
@pytest.mark.parametrize("kind", PHRASE_KINDS)
def test_scenes_have_what_their_sentence_needs(kind: PhraseKind, split: str) -> None:
    allowed = getattr(catalogue(), split)
    for spec in _specs(kind, split):
        phrase = phrase_of(spec.goal)
        assert phrase is not None and phrase.kind == kind and spec.goal.targets == ()
        assert len(spec.objects) == CONFIG.place_objects == len(spec.looks) == len(spec.drops)
        assert len(spec.redraws) == LAYOUTS - 1 and all(drops.shape == spec.drops.shape for drops in spec.redraws)
        assert set(spec.objects) <= set(allowed)
        shown = list(zip(spec.objects, spec.looks, strict=True))
        called = [is_called(name, phrase.noun, look) for name, look in shown]
        assert [may_be_called(name, phrase.noun, look) for name, look in shown] == called
        assert sum(called) == {"attribute_noun": 3, "reference": 2}.get(kind, sum(called)) and 2 <= sum(called) <= 4
        assert phrase.noun in spec.instruction
        if kind == "attribute_noun":
            having = [has_attribute(name, phrase.word, look) for name, look in shown]
            both = [a and b for a, b in zip(called, having, strict=True)]
            assert sum(map(bool, both)) == 1 and None not in [h for h, c in zip(having, called, strict=True) if c]
            assert sum(bool(h) and not c for h, c in zip(having, called, strict=True)) == 2
        if kind == "reference":
            assert sum(is_called(name, phrase.reference, look) for name, look in shown) == 1
            assert sum(may_be_called(name, phrase.reference, look) for name, look in shown) == 1


@pytest.mark.parametrize("kind", PHRASE_KINDS)
def test_a_seed_gives_one_scene_and_another_seed_another(kind: PhraseKind) -> None:
    first, again = _specs(kind, "unseen", 3), _specs(kind, "unseen", 3)
    for one, other in zip(first, again, strict=True):
        assert (one.instruction, one.objects, one.looks, one.goal) == (other.instruction, other.objects, other.looks, other.goal)
        assert np.array_equal(one.drops, other.drops) and all(map(np.array_equal, one.redraws, other.redraws))
    assert len({spec.drops.tobytes() for spec in first}) == 3
    assert not np.array_equal(first[0].drops, first[0].redraws[0])


def test_demonstrations_never_show_a_held_out_instance() -> None:
    for kind in PHRASE_KINDS:
        for spec in _specs(kind, "seen", 20):
            for name, look in zip(spec.objects, spec.looks, strict=True):
                variation = look_variation(catalogue()[name], look)
                assert not look.color or (variation is not None and not in_band(catalogue()[name], variation))


def test_what_is_next_to_the_reference_is_dropped_so_and_the_other_is_not() -> None:
    for spec in _specs("reference", "unseen", 16):
        phrase = phrase_of(spec.goal)
        assert phrase is not None
        reference = next(i for i, name in enumerate(spec.objects) if is_called(name, phrase.reference, spec.looks[i]))
        kin = [i for i, name in enumerate(spec.objects) if is_called(name, phrase.noun)]
        scene = [outline(name, pose) for name, pose in zip(spec.objects, spec.drops, strict=True)]
        if phrase.word == "in":
            inside = [i for i in kin if np.allclose(spec.drops[i, :2], spec.drops[reference, :2])]
            assert len(inside) == 1 and reference < inside[0]
        else:
            assert min(gap(scene[i].footprint, scene[reference].footprint) for i in kin) == pytest.approx(0.012, abs=0.006)
        # No posture tells the one from the other: both are dropped as they are modelled, and so is the reference.
        assert np.allclose(spec.drops[[*kin, reference], 3:5], 0.0)


def test_ordinary_sentences_are_settled_as_they_are() -> None:
    assert isinstance(TASK, Settles)
    assert not isinstance(get_task("place"), Settles)
    spec = TASK.sample(episode_seed(0, Domain.DEVELOPMENT, 3), "seen", "train", CONFIG)
    truth = SceneTruth(np.zeros((15, 7)), np.ones(15, dtype=np.bool_), np.zeros((0, 0, 0), np.uint16))
    assert TASK.settled(spec, truth) is spec
    assert phrase_of(Goal("cup", "general", (0,))) is None


def test_unknown_splits_and_wordings_are_refused() -> None:
    seed = episode_seed(0, Domain.DEVELOPMENT, 1)
    with pytest.raises(UnknownNameError, match="split 'old'"):
        TASK.compose(seed, "old", "train", "superlative", CONFIG)
    with pytest.raises(UnknownNameError, match="wording 'spoken'"):
        TASK.compose(seed, "seen", "spoken", "superlative", CONFIG)


def test_colours_of_sentences_are_colours() -> None:
    words = {phrase.word for spec in _specs("attribute_noun", "unseen") if (phrase := phrase_of(spec.goal))}
    assert len(words) > 2 and words <= color_words()
    assert set(DIRECTIONS) == {"leftmost", "rightmost", "frontmost", "rearmost"}
