"""The test of a new object: drop it, grasp it, draw it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srcli.objects import ObjectModel
    from srcli.objects.library import LibraryEntry
    from srcli.types import F64

HELD = "success"
TRIES = 10
"""Drops, each followed by one grasp."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The drop-and-grasp test: an object alone on the table in random orientation, the sampler's best grasp executed.

    Attributes:
        drops: how often it was dropped.
        settled: came to rest within the step limit.
        on_table: lay in the workspace afterwards.
        held: still in the gripper after lift and hold test.
        failures: number of attempts by reason.
        expected: mean quality of the executed grasps: the share that the network expects to hold; None where none was executed.
    """

    drops: int
    settled: int
    on_table: int
    held: int
    failures: dict[str, int]
    expected: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One drop and, where it lay in the workspace, one grasp.

    Attributes:
        settled: it came to rest within the step limit.
        on_table: it lay in the workspace afterwards.
        quality: of the executed grasp, or None where there was none.
        reason: why the grasp failed, ``success``, or ``left_the_table``.
    """

    settled: bool
    on_table: bool
    quality: float | None
    reason: str


def attempts(model: ObjectModel, tries: int = TRIES) -> Iterator[Attempt]:
    """Drop a body in random orientation and execute the best grasp that the sampler finds, again and again."""
    import numpy as np

    from srcli.actions.grasps import sample_grasps
    from srcli.config.candidates import CandidateConfig
    from srcli.config.sim import SimConfig
    from srcli.seeding import Domain, episode_seed, generator
    from srcli.sim import World
    from srcli.types import Action, Reason

    config = CandidateConfig()
    with World(SimConfig()) as world:
        for number in range(tries):
            rng = generator(episode_seed(0, Domain.PROBE, number))
            quaternion = rng.normal(size=4)
            drop = np.array([[0.5, 0.0, 0.2, *(quaternion / np.linalg.norm(quaternion))]])
            settled = bool(world.reset([model], drop))
            observation, segmentation = world.observe(rng)
            if not world.truth(segmentation).present[0]:
                yield Attempt(settled, False, None, "left_the_table")
                continue
            candidates = sample_grasps(observation, config)
            if not len(candidates):
                yield Attempt(settled, True, None, Reason.NO_CANDIDATE.value)
                continue
            best = int(np.argmax(candidates.quality))
            action = Action("grasp", candidates.poses[best], float(candidates.widths[best]), best)
            yield Attempt(settled, True, float(candidates.quality[best]), world.execute(action).reason.value)


def try_object(entry: LibraryEntry, tries: int = TRIES) -> Trial:
    """Drop the object ``tries`` times in random orientation and execute the best grasp that the sampler finds."""
    from srcli.objects import build

    made = list(attempts(build(entry), tries))
    failures: dict[str, int] = {}
    for attempt in made:
        if attempt.reason != HELD:
            failures[attempt.reason] = failures.get(attempt.reason, 0) + 1
    expected = [attempt.quality for attempt in made if attempt.quality is not None]
    return Trial(
        drops=tries,
        settled=sum(attempt.settled for attempt in made),
        on_table=sum(attempt.on_table for attempt in made),
        held=sum(attempt.reason == HELD for attempt in made),
        failures=failures,
        expected=round(sum(expected) / len(expected), 3) if expected else None,
    )


def draw_object(entry: LibraryEntry, out: Path, pieces: str, size: int = 240) -> None:
    """One picture: the object from two sides, and its convex pieces, each in a colour of its own."""
    import numpy as np
    from PIL import Image, ImageDraw

    from srcli.artifacts.core import atomic_write
    from srcli.objects import build
    from srcli.sim.render import contact_sheet_images

    model = build(entry)
    half_turn = np.diag([-1.0, -1.0, 1.0])
    models = [model, _turned(model, half_turn), _in_pieces(model)]
    pictures = contact_sheet_images(models, size)
    sheet = Image.new("RGB", (size * len(pictures), size + 16), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, text) in enumerate(zip(pictures, (entry.name, "from behind", f"pieces: {pieces}"), strict=True)):
        sheet.paste(Image.fromarray(picture), (number * size, 0))
        draw.text((number * size + 4, size + 2), text[:40], fill=(20, 20, 20))
    with atomic_write(out) as temporary:
        sheet.save(temporary, format="PNG")


def _turned(model: ObjectModel, rotation: F64) -> ObjectModel:
    return replace(
        model,
        visuals=tuple(replace(visual, vertices=visual.vertices @ rotation.T) for visual in model.visuals),
        hulls=tuple(points @ rotation.T for points in model.hulls),
    )


def _in_pieces(model: ObjectModel) -> ObjectModel:
    """The convex pieces instead of the surface."""
    import colorsys

    from srcli.objects.mesh import hull_mesh, split_creases
    from srcli.objects.model import Visual

    visuals = []
    for number, points in enumerate(model.hulls):
        mesh = split_creases(hull_mesh(points))
        # Steps of the golden ratio around the circle of hues keep neighbours apart, however many there are.
        red, green, blue = colorsys.hsv_to_rgb((0.58 + 0.618034 * number) % 1.0, 0.55, 0.9)
        visuals.append(Visual(mesh.vertices, mesh.faces, (red, green, blue, 1.0)))
    return replace(model, visuals=tuple(visuals))
