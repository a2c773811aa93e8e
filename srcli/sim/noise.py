"""Sensor noise of the RGB-D cameras.

Depth: the standard deviation grows linearly with distance through the two points of the L515 datasheet (2.5 mm at 1 m, 15.5 mm at
9 m); it is white per pixel plus a part shared by 8x8 pixel patches, because neighbouring returns of a scanning lidar are not
independent (the split 0.8 / 0.6 keeps the total variance; the datasheet does not state it). Depth is stored in steps of 0.25 mm.
Returns are lost at depth edges and at grazing angles. Colour: independent Gaussian noise per channel.
"""

from __future__ import annotations

import numpy as np

from srcli.config.sim import SimConfig
from srcli.types import F32, U8, Bool

NEAR_STD, NEAR_RANGE = 0.0025, 1.0
FAR_STD, FAR_RANGE = 0.0155, 9.0
QUANTUM = 0.00025
PATCH = 8
_WHITE, _SHARED = 0.8, 0.6
_EDGE_STEP = 0.02
_EDGE_LOSS = 0.5
_GRAZING_COSINE = 0.2


def depth_std(depth: F32) -> F32:
    """Standard deviation in metres of the depth noise at each depth (metres along the optical axis)."""
    slope = (FAR_STD - NEAR_STD) / (FAR_RANGE - NEAR_RANGE)
    return np.asarray(np.maximum(NEAR_STD + slope * (depth - NEAR_RANGE), 0.0), dtype=np.float32)


def _lost(depth: F32, focal: float, rng: np.random.Generator) -> Bool:
    right = np.zeros_like(depth)
    down = np.zeros_like(depth)
    right[:, :-1] = depth[:, 1:] - depth[:, :-1]
    down[:-1] = depth[1:] - depth[:-1]
    edge = np.maximum(np.abs(right), np.abs(down)) > _EDGE_STEP
    edge[:, 1:] |= edge[:, :-1]
    edge[1:] |= edge[:-1]
    # cos(incidence) = 1 / sqrt(1 + |grad z|^2 (f / z)^2), for a ray near the optical axis.
    steep = (right * right + down * down) * (focal / np.maximum(depth, 1e-3)) ** 2
    grazing = steep > 1.0 / _GRAZING_COSINE**2 - 1.0
    lost: Bool = (edge | grazing) & (rng.random(depth.shape, dtype=np.float32) < _EDGE_LOSS)
    return lost


def noisy_depth(depth: F32, focal: float, config: SimConfig, rng: np.random.Generator) -> F32:
    """Depth (H, W) in metres as the sensor would give it; 0 where there is no return.

    Args:
        depth: (H, W) true depth along the optical axis, 0 where nothing is seen.
        focal: focal length in pixels.
    """
    height, width = depth.shape
    white = rng.standard_normal(depth.shape, dtype=np.float32)
    patches = rng.standard_normal((-(-height // PATCH), -(-width // PATCH)), dtype=np.float32)
    shared = np.repeat(np.repeat(patches, PATCH, axis=0), PATCH, axis=1)[:height, :width]
    white *= np.float32(_WHITE)
    white += np.float32(_SHARED) * shared
    white *= depth_std(depth) * np.float32(config.depth_noise)
    noisy = np.round((depth + white) / np.float32(QUANTUM)) * np.float32(QUANTUM)
    hidden = depth <= 0
    if config.dropout:
        hidden = hidden | _lost(depth, focal, rng)
    noisy[hidden] = 0.0
    return np.asarray(np.maximum(noisy, 0.0), dtype=np.float32)


def noisy_color(rgb: U8, config: SimConfig, rng: np.random.Generator) -> U8:
    """Colour (H, W, 3) with independent Gaussian noise of ``config.color_noise`` (of 255) per channel."""
    noise = rng.standard_normal(rgb.shape, dtype=np.float32)
    noise *= np.float32(config.color_noise)
    noise += rgb
    np.rint(noise, out=noise)
    np.clip(noise, 0, 255, out=noise)
    return noise.astype(np.uint8)
