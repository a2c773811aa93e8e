import numpy as np
import pytest

from srcli.config.sim import SimConfig
from srcli.sim.noise import QUANTUM, depth_std, noisy_color, noisy_depth


@pytest.mark.parametrize(("distance", "std"), [(1.0, 0.0025), (5.0, 0.009), (9.0, 0.0155)])
def test_depth_noise_follows_the_datasheet(distance, std):
    depth = np.full((240, 320), distance, np.float32)
    noisy = noisy_depth(depth, 457.0, SimConfig(), np.random.default_rng(0))
    assert np.isclose(depth_std(depth)[0, 0], std, rtol=1e-5)
    assert np.isclose((noisy - depth).std(), std, rtol=0.05)
    assert abs(float((noisy - depth).mean())) < std / 10


def test_depth_is_quantised_and_what_is_not_seen_stays_lost():
    depth = np.full((64, 64), 0.8, np.float32)
    depth[:8] = 0.0
    noisy = noisy_depth(depth, 457.0, SimConfig(dropout=False), np.random.default_rng(0))
    assert np.all(noisy[:8] == 0)
    steps = noisy[8:] / QUANTUM
    assert np.abs(steps - np.round(steps)).max() < 2e-3


def test_returns_are_lost_at_edges_and_grazing_angles_only():
    depth = np.full((100, 120), 0.8, np.float32)
    depth[:, 60:] = 0.7
    noisy = noisy_depth(depth, 457.0, SimConfig(), np.random.default_rng(0))
    lost = noisy == 0
    assert 0.4 < lost[:, 59:61].mean() < 0.6
    assert not lost[:, :59].any() and not lost[:, 61:].any()
    column = np.arange(120, dtype=np.float32)[None, :] + np.zeros((100, 1), np.float32)
    grazing, gentle = (np.float32(0.8) * np.exp(np.float32(rate) * column) for rate in (0.0135, 0.005))
    lose, keep = SimConfig(), SimConfig(dropout=False)
    assert 0.4 < (noisy_depth(grazing, 457.0, lose, np.random.default_rng(0)) == 0).mean() < 0.6
    assert (noisy_depth(grazing, 457.0, keep, np.random.default_rng(0)) == 0).mean() == 0
    assert (noisy_depth(gentle, 457.0, lose, np.random.default_rng(0)) == 0).mean() == 0


def test_color_noise_has_its_sigma_and_the_generator_decides():
    grey = np.full((100, 100, 3), 128, np.uint8)
    first = noisy_color(grey, SimConfig(), np.random.default_rng(5))
    assert np.isclose((first.astype(float) - 128).std(), 3.0, rtol=0.05)
    assert np.array_equal(first, noisy_color(grey, SimConfig(), np.random.default_rng(5)))
    assert not np.array_equal(first, noisy_color(grey, SimConfig(), np.random.default_rng(6)))
