"""Random instances: reproducible, truthful, and away from the held-out ones."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from srcli.objects import Variation, catalogue, color_words, in_band, palette, sample_variation
from srcli.objects.model import shade
from srcli.objects.variation import COLOR_BAND, RATIO_BAND, SCALE_RANGE, describe
from srcli.seeding import Domain, episode_seed, generator

DRAWS = 40


def rng(index: int) -> np.random.Generator:
    return generator(episode_seed(3, Domain.PROBE, index))


def test_same_seed_same_instance() -> None:
    for name in ("banana", "red_marker", "pantene"):
        entry = catalogue()[name]
        assert sample_variation(entry, rng(1)) == sample_variation(entry, rng(1))
        assert sample_variation(entry, rng(1)) != sample_variation(entry, rng(2))


@pytest.mark.parametrize("name", catalogue().unseen)
def test_held_out_instances_stay_outside_their_band(name: str) -> None:
    entry, random = catalogue()[name], rng(7)
    own = palette()[entry.main_color].array()
    kept: list[bool] = []
    for _ in range(DRAWS):
        variation, _ = sample_variation(entry, random)
        x, y, z = variation.scale
        ratios = np.abs(np.array([x / y, y / z, x / z, y / x, z / y, z / x]) - 1)
        far = np.linalg.norm(np.asarray(shade(entry.main_color, variation)[:3]) - own) > COLOR_BAND
        assert ratios.max() > RATIO_BAND or far
        kept.append(not far)
    assert in_band(entry, Variation())
    # Its colour is learned too, on other proportions.
    assert 0.05 < np.mean(kept) < 0.6


def test_a_seen_relative_does_not_turn_into_a_held_out_object() -> None:
    entry, random = catalogue()["red_bowl"], rng(11)
    drawn = [sample_variation(entry, random)[0] for _ in range(300)]
    assert not any(in_band(entry, variation) for variation in drawn)
    assert any(describe(entry, variation).label == "yellow bowl" for variation in drawn), "the colour itself is not forbidden"


def test_scales_stay_in_range_and_words_follow_the_colour() -> None:
    random = rng(5)
    recolored = 0
    for entry in catalogue():
        for _ in range(8):
            variation, words = sample_variation(entry, random)
            assert SCALE_RANGE[0] - 1e-9 <= min(variation.scale) and max(variation.scale) <= SCALE_RANGE[1] + 1e-9
            swap = dict(variation.recolor)
            recolored += bool(swap)
            assert entry.recolor or not swap
            main = palette()[swap.get(entry.main_color, entry.main_color)].word
            assert words.colors[0] == main
            if palette()[entry.main_color].word in entry.attributes:
                assert main in words.attributes
            assert set(words.attributes) & color_words() <= set(words.colors)
            if entry.names_color and swap and entry.colors[0] in entry.label.split():
                assert main in words.label.split()
    assert recolored > 100


def test_brand_names_keep_their_colour_word() -> None:
    entry = catalogue()["blue_moon"]
    words = describe(entry, Variation(recolor=(("blue", "red"),)))
    assert words.label == "blue moon" and words.attributes == ("red",)


def test_jitter_never_changes_the_colour_word() -> None:
    random, bases = rng(9), {c.word: c.array() for c in palette().values() if c.base}
    for entry in catalogue():
        for _ in range(5):
            variation, words = sample_variation(entry, random)
            swapped = dict(variation.recolor).get(entry.main_color, entry.main_color)
            if swapped not in {name for name, c in palette().items() if c.base}:
                continue
            rgb = np.asarray(shade(entry.main_color, variation)[:3])
            nearest = min(bases, key=lambda word: float(np.linalg.norm(bases[word] - rgb)))
            assert nearest == words.colors[0], (entry.name, swapped, rgb, colorsys.rgb_to_hsv(*rgb))
