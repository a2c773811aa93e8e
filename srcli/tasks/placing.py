"""What a placement is made of: reference and relation, what may be held, drop poses, and the rules of the place phase."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from srcli.config.scene import SceneConfig
from srcli.errors import SceneError
from srcli.language import could_mean
from srcli.language.relations import RELATIONS, Region, Relation
from srcli.objects import build, catalogue
from srcli.tasks.draws import draw_names, random_rotations, split_names, split_of_pool
from srcli.tasks.outlines import body, distance, opening_size, outline, outlines
from srcli.tasks.regions import default_bounds, index_region, satisfied, valid_region
from srcli.types import F64, Action, Bool, Candidates, EpisodeSpec, Execution, HeldExtent, Outcome, Reason, SceneTruth

CARRIERS: dict[str, tuple[str, ...]] = {
    "seen": ("red_bowl", "red_mug", "cup", "ice_mould"),
    "unseen": ("gelatin_box", "pink_tea_box", "soap_dish", "yellow_bowl", "yellow_cup"),
}
"""What a thing may be placed in or on (A2); around any object. In a place zone they stand upright, whether asked for or not."""

CARRIER_SHARE = 2 / 3
"""Share of generated scenes whose reference is a carrier: "in" and "on" would be rare among uniform references."""

GENERAL_SHARE = 0.25
"""Share of sentences that name the reference by its kind ("container") where it has one."""

_OPENING = 0.075
_LONGEST, _THINNEST, _HEAVIEST = 0.145, 0.016, 0.36
# How far what is placed may be longer than a flat top, an opening that it passes, and one that it lies across.
_OVERHANG, _PASSES, _ACROSS = 1.6, 1.06, 1.26
# Half the width of an ordinary neighbour: so far from a carrier's outline it does not tumble into it.
_NEIGHBOUR = 0.06
_GRID = 0.01
_LEAST_AROUND = 10
_TRIES = 400
_STANDING = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])


def relations(split: str, wording: str) -> tuple[Relation, ...]:
    """The relations that sentences of a split use: demonstrations (seen split, training wording) have only the seen ones."""
    every = split_of_pool(split) == "unseen" or wording == "heldout"
    return tuple(relation for relation in RELATIONS.values() if every or relation.seen)


@lru_cache(maxsize=8)
def holdable(split: str) -> tuple[str, ...]:
    """Objects of a split that the gripper picks up alone with ease: narrow, not flat, neither long nor heavy."""
    names = []
    for name in split_names(split):
        thin, middle, long = _sides(name)
        easy = thin >= _THINNEST and middle <= _OPENING and long <= _LONGEST
        if easy and catalogue()[name].mass <= _HEAVIEST:
            names.append(name)
    if not names:
        raise SceneError(
            f"no object of '{split}' is small enough to be held and put down", "add one to the library, or set scene.library: add"
        )
    return tuple(names)


@lru_cache(maxsize=8192)
def fits(name: str, reference: str, region: Region) -> bool:
    """Whether an object can be placed in, on or around another of the catalogue.

    in: it goes through the opening as it lies, however it is turned, or tips into a deep one. on: that, or it lies across the rim
    or the flat top and hangs over only a little; what rolls has to go in.
    """
    if name == reference:
        return False
    if region == "around":
        return True
    if not any(reference in names for names in CARRIERS.values()):
        return False
    thin, middle, long = _sides(name)
    narrow, wide = opening_size(reference)
    standing = outline(reference, _STANDING)
    tips = standing.high - standing.low > narrow and float(np.hypot(thin, middle)) <= 0.93 * narrow
    if middle <= narrow and long <= _PASSES * narrow and (_diameter(name) <= wide or tips):
        return True
    if region == "in" or "round" in catalogue()[name].attributes:
        return False
    if narrow > 0:
        return long <= _ACROSS * narrow
    low, high = np.sort(standing.half) * 2
    return bool(middle <= _OVERHANG * low and long <= _OVERHANG * high)


@lru_cache(maxsize=256)
def _diameter(name: str) -> float:
    """Of the circle around the middle of its broad side that holds the object, metres."""
    points = body(name).points
    flat = points[:, np.argsort(np.ptp(points, axis=0))[1:]]
    return float(2 * np.linalg.norm(flat - (flat.min(axis=0) + flat.max(axis=0)) / 2, axis=1).max())


@lru_cache(maxsize=256)
def _sides(name: str) -> tuple[float, float, float]:
    extent = np.sort(build(catalogue()[name]).extent)
    return (float(extent[0]), float(extent[1]), float(extent[2]))


def draw_reference(
    rng: np.random.Generator, split: str, wording: str, held: Sequence[str], avoid: str = "", every: bool = False
) -> tuple[str, str, Relation]:
    """Draw (reference, its word, relation): the relation is uniform among those that the reference allows.

    Args:
        held: what may be in the gripper.
        avoid: a keyword that the reference must not be taken for.
        every: the relation has to suit each of ``held``, not just one.
    """
    suits = all if every else any
    allowed = relations(split, wording)
    names = [name for name in split_names(split) if not (avoid and could_mean(name, avoid))]
    names = [name for name in names if suits(fits(thing, name, "around") for thing in held)]
    carriers = [
        name
        for name in CARRIERS[split_of_pool(split)]
        if name in names and any(suits(fits(thing, name, region) for thing in held) for region in ("in", "on"))
    ]
    pool = carriers if rng.random() < CARRIER_SHARE and carriers else names
    if not pool:
        raise SceneError(
            f"no object of '{split}' can be a reference of this placement", "add more to the library, or set scene.library: add"
        )
    reference = pool[int(rng.integers(len(pool)))]
    entry = catalogue()[reference]
    general = [word for word in entry.general if not (every and any(could_mean(thing, word) for thing in held))]
    word = entry.label
    if rng.random() < GENERAL_SHARE and general:
        word = general[int(rng.integers(len(general)))]
    choices = [relation for relation in allowed if suits(fits(thing, reference, relation.region) for thing in held)]
    return reference, word, choices[int(rng.integers(len(choices)))]


def draw_place_zone(
    rng: np.random.Generator, split: str, reference: str, avoid: Sequence[str], config: SceneConfig, not_held: str = ""
) -> tuple[str, ...]:
    """Objects of the place zone in dropping order: the reference and others that none of the words to avoid could mean."""
    pool = [name for name in split_names(split) if name not in (reference, not_held)]
    pool = [name for name in pool if not any(could_mean(name, word) for word in avoid)]
    objects = [reference, *draw_names(rng, pool, config.place_objects - 1)]
    return tuple(objects[i] for i in rng.permutation(len(objects)))


def place_drops(rng: np.random.Generator, objects: Sequence[str], config: SceneConfig) -> F64:
    """(S, 7) drop poses in the zone's frame: ``scene.place_spacing`` apart or more, carriers upright, others in any rotation."""
    count = len(objects)
    drops = np.empty((count, 7))
    carriers = [name for names in CARRIERS.values() for name in names]
    upright = np.array([name in carriers for name in objects])
    room = [_room(name) if name in carriers else 0.0 for name in objects]
    drops[:, :2] = np.array([config.center_x, config.center_y]) + _apart(rng, room, config)
    drops[:, 2] = config.drop_height
    drops[:, 3:] = random_rotations(rng, count)
    yaw = rng.uniform(-np.pi, np.pi, count) / 2
    level = np.stack([np.zeros(count), np.zeros(count), np.sin(yaw), np.cos(yaw)], axis=1)
    drops[upright, 3:] = level[upright]
    return drops


def _room(carrier: str) -> float:
    return float(outline(carrier, _STANDING).half.max()) + _NEIGHBOUR


def _apart(rng: np.random.Generator, room: Sequence[float], config: SceneConfig) -> F64:
    """(S, 2) points of the drop square, ``place_spacing`` or each other's room apart; closer where so many do not fit."""
    half, tightness = config.place_half_width, 1.0
    while True:
        spacing = config.place_spacing * min(tightness / 0.75, 1.0)
        points: list[F64] = []
        for _ in range(_TRIES):
            point = rng.uniform(-half, half, 2)
            own = room[len(points)]
            if all(
                np.linalg.norm(point - other) >= max(spacing, tightness * max(own, theirs))
                for other, theirs in zip(points, room, strict=False)
            ):
                points.append(point)
            if len(points) == len(room):
                return np.array(points)
        tightness *= 0.97


def named(word: str, names: Sequence[str]) -> tuple[int, ...]:
    """Positions of the names that a reference word stands for: by label or kind; else by anything that a person could mean."""
    exact = tuple(i for i, name in enumerate(names) if word in (catalogue()[name].label, *catalogue()[name].general))
    return exact or tuple(i for i, name in enumerate(names) if could_mean(name, word))


def region_of(spec: EpisodeSpec) -> Region:
    """The region that the goal's relation names."""
    return RELATIONS[spec.goal.relation].region


def place_possible(spec: EpisodeSpec, truth: SceneTruth) -> bool:
    """Whether a reference is present and room is left for the smallest thing that may be held.

    Room means 10 square centimetres of right positions around, or one such position in or on a reference. A benchmark file's
    scene, whose poses are fixed, is played as it is while a reference is present: its own rule asks for no room.
    """
    if spec.fixed:
        return bool(truth.present[list(spec.goal.references)].any())
    held = [spec.held] if spec.held >= 0 else list(spec.goal.targets)
    sizes = sorted(_sides(spec.objects[slot]) for slot in held)
    nominal = HeldExtent(sizes[0][2] / 2, sizes[0][1] / 2, sizes[0][0])
    x, y = (np.arange(low, high, _GRID) for low, high in truth.workspace or default_bounds())
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    scene = outlines(spec.objects, truth)
    # A grid point may miss a small opening that a candidate hits.
    centers = [scene[slot].center for slot in spec.goal.references if slot in scene]
    points = np.vstack([grid, *(center[None] for center in centers)])
    region = region_of(spec)
    found = int(valid_region(points, region, spec.goal.references, scene, nominal, truth.workspace).sum())
    return found >= (_LEAST_AROUND if region == "around" else 1)


def place_valid(spec: EpisodeSpec, truth: SceneTruth, candidates: Candidates, held: HeldExtent | None) -> Bool:
    """(K,) which release positions are right; see :func:`srcli.tasks.regions.valid_region`."""
    points = candidates.poses[:, :2].astype(np.float64)
    return valid_region(points, region_of(spec), spec.goal.references, outlines(spec.objects, truth), held, truth.workspace)


def place_expert(
    spec: EpisodeSpec, truth: SceneTruth, candidates: Candidates, excluded: Bool, rng: np.random.Generator, valid: Bool | None
) -> int | None:
    """A candidate drawn uniformly among the valid ones that are not excluded; None when there is none."""
    right = (place_valid(spec, truth, candidates, None) if valid is None else valid) & ~excluded
    choices = np.flatnonzero(right)
    return int(rng.choice(choices)) if len(choices) else None


def judge_place(
    spec: EpisodeSpec,
    execution: Execution,
    truth: SceneTruth,
    action: Action | None,
    after: SceneTruth | None,
    held: HeldExtent | None,
) -> Outcome:
    """Where the released object came to rest, against the relation.

    ``detail``: ``index_rule`` 1 when the benchmark accepts the chosen position; ``gap`` metres from the object's centre to the
    nearest reference's outline (negative above it).

    Raises:
        ValueError: an object was released and ``after`` is missing.
    """
    region, references = region_of(spec), spec.goal.references
    detail: dict[str, float] = {}
    if action is not None:
        point = np.asarray(action.pose[:2], dtype=np.float64)[None]
        detail["index_rule"] = float(index_region(point, region, references, outlines(spec.objects, truth), held)[0])
    if execution.reason is not Reason.SUCCESS:
        return Outcome(False, execution.reason, execution.slot, detail)
    if after is None or execution.slot is None:
        raise ValueError("a placement is judged by the state after it")
    slot = execution.slot
    scene = outlines(spec.objects, after)
    around = [reference for reference in references if reference in scene]
    if slot in scene and around:
        center = scene[slot].center[None]
        detail["gap"] = min(float(distance(center, scene[reference].footprint)[0]) for reference in around)
    success = any(satisfied(region, slot, reference, scene, after.contacts) for reference in around)
    return Outcome(success, Reason.SUCCESS if success else Reason.WRONG_REGION, slot, detail)
