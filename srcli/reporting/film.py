"""Short animations of the arm at work: frames of a camera in front of the table, taken while the simulation steps."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Protocol

import numpy as np

from srcli.methods.base import Choice, Decision, Policy
from srcli.sim.cameras import Camera, look_at
from srcli.types import U8

WIDTH, HEIGHT = 320, 180
_FOCAL = 300.0
_SCALE = 2
_FIRST_INTERVAL = 12
_LIMIT = 900_000


class FilmedWorld(Protocol):
    """What filming needs of a world."""

    on_step: Callable[[int], None] | None

    def picture(self, camera: Camera) -> U8: ...


def film_camera(wide: bool) -> Camera:
    """A camera in front of the table that has the arm in its image; ``wide`` for tasks with two zones beside each other."""
    eye, aim = ((1.58, -0.50, 0.90), (0.34, 0.0, 0.20)) if wide else ((1.30, -0.62, 0.76), (0.36, 0.0, 0.20))
    k = np.array([[_FOCAL * _SCALE, 0, WIDTH * _SCALE / 2], [0, _FOCAL * _SCALE, HEIGHT * _SCALE / 2], [0, 0, 1.0]])
    return Camera("film", k, look_at(eye, aim), WIDTH * _SCALE, HEIGHT * _SCALE)


class Recorder:
    """Takes a frame every so many simulated steps; when there are too many, it drops every other one and slows down.

    Args:
        world: filmed from the moment of :meth:`start` on.
        frames: most frames that are kept.
    """

    def __init__(self, world: FilmedWorld, camera: Camera, frames: int) -> None:
        self._world, self._camera, self._most = world, camera, frames
        self._interval, self._last = _FIRST_INTERVAL, -_FIRST_INTERVAL
        self._frames: list[U8] = []

    def start(self) -> None:
        """Hang onto the world's steps; starting again changes nothing."""
        self._world.on_step = self._step

    def stop(self) -> None:
        """Let go of the world."""
        self._world.on_step = None

    def _step(self, steps: int) -> None:
        if steps - self._last < self._interval:
            return
        self._last = steps
        self._frames.append(_halved(self._world.picture(self._camera)))
        if len(self._frames) > self._most:
            del self._frames[1::2]
            self._interval *= 2

    @property
    def frames(self) -> tuple[U8, ...]:
        """Frames (180, 320, 3) so far."""
        return tuple(self._frames)


def _halved(image: U8) -> U8:
    """Means of blocks of 2 x 2 pixels: the software renderer does not smooth edges."""
    height, width = image.shape[0] // _SCALE, image.shape[1] // _SCALE
    blocks = image.reshape(height, _SCALE, width, _SCALE, 3).astype(np.float32)
    return np.asarray(blocks.mean(axis=(1, 3)) + 0.5, dtype=np.uint8)


class Filmed:
    """A policy that starts the recorder at its first decision: building the scene is not filmed."""

    def __init__(self, policy: Policy, recorder: Recorder) -> None:
        self._policy, self._recorder = policy, recorder
        self.name, self.privileged = policy.name, policy.privileged

    def act(self, decision: Decision) -> Choice:
        choice = self._policy.act(decision)
        self._recorder.start()
        return choice


def animation(frames: tuple[U8, ...], rate: float) -> bytes:
    """Frames as an animated WebP of less than a megabyte that repeats; the last frame stays for a second and a half."""
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    times = [round(1000 / rate)] * (len(images) - 1) + [1500]
    for quality in (70, 50, 30):
        out = BytesIO()
        images[0].save(out, "WEBP", save_all=True, append_images=images[1:], duration=times, loop=0, quality=quality, method=4)
        if out.tell() < _LIMIT:
            break
    return out.getvalue()
