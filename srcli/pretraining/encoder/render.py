"""Rendering the scenes of pre-training and validation. A scene follows from its seed alone, whichever process renders it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from srcli.config.pretrain import PretrainConfig
from srcli.config.scene import SceneConfig
from srcli.config.sim import SimConfig
from srcli.objects import ObjectModel, build, catalogue, describe, sample_variation
from srcli.pretraining.encoder.concepts import Facts
from srcli.pretraining.encoder.lexicon import facts_of
from srcli.pretraining.encoder.store import SCENES_PER_SHARD, VIEWS, Shard, read_shard, shard_path, write_shard
from srcli.seeding import Domain, episode_seed, generator
from srcli.sim.render import Light
from srcli.sim.world import World
from srcli.types import F64, U8

Kind = Literal["train", "valid_seen", "valid_unseen", "valid_taught"]
WINDOW = (304, 384)
"""Height and width in pixels of what is kept of a training view: a window around the objects."""
_STREAM: dict[Kind, int] = {"train": 0, "valid_seen": 1, "valid_unseen": 2, "valid_taught": 3}
_TAUGHT, _TWINS = 4, 5
_MOST_TAUGHT, _MOST_TWINS = 3, 3
_DRAWS = 16
"""Variations that are drawn for a twin before it is given up."""
_DROP_INTERVAL, _SETTLE_LIMIT = 24, 120
_PILE_HALF_WIDTH = SceneConfig().half_width
_PILED, _PILE_RANGE, _SCATTER_HALF_WIDTH = 0.75, (0.075, 0.135), 0.17
"""Share of training scenes that are piles; half the side of the square they are dropped in, and of scattered objects, metres."""
_THEMED = 0.5
"""Share of training scenes with a theme."""
_THEME_WEIGHT = 6.0
"""How many times as likely objects of the theme are to lie there."""


def _drops(count: int, sim: SimConfig, kind: Kind, rng: np.random.Generator) -> F64:
    """Where objects are dropped: (S, 7). Validation shows piles as an evaluation has them, training also scattered objects.

    In a pile most of an object is hidden, which is what makes it hard to name: who has learned from scattered objects alone does
    worse there.
    """
    middle = np.array([sum(sim.workspace_x) / 2, sum(sim.workspace_y) / 2])
    half, upright_share = _PILE_HALF_WIDTH, 0.0
    if kind == "train":
        pile = rng.random() < _PILED
        half = float(rng.uniform(*_PILE_RANGE)) if pile else _SCATTER_HALF_WIDTH
        # Objects that lie apart often keep upright, as people leave them; in a pile they fall as they may.
        upright_share = 0.25 if pile else 0.5
    out = np.zeros((count, 7))
    out[:, :2] = middle + rng.uniform(-half, half, (count, 2))
    out[:, 2] = 0.2
    quaternion = rng.standard_normal((count, 4))
    quaternion[rng.random(count) < upright_share, :2] = 0.0
    out[:, 3:] = quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)
    return out


def _light(rng: np.random.Generator) -> Light:
    x, y = rng.uniform(-0.9, 0.9, 2)
    tint = 1.0 + rng.uniform(-0.06, 0.06, 3)
    return Light(
        direction=(float(x), float(y), float(rng.uniform(0.6, 1.2))),
        color=(float(tint[0]), float(tint[1]), float(tint[2])),
        ambient=float(rng.uniform(0.4, 0.7)),
        diffuse=float(rng.uniform(0.3, 0.6)),
        specular=float(rng.uniform(0.0, 0.15)),
    )


def _table(rng: np.random.Generator) -> tuple[float, float, float]:
    level = rng.uniform(0.08, 0.85)
    r, g, b = np.clip(level * (1.0 + rng.uniform(-0.18, 0.18, 3)), 0.0, 1.0)
    return (float(r), float(g), float(b))


def _window(slots: U8) -> tuple[int, int]:
    """Top-left corner of the window that is centred on the objects, inside the image."""
    rows, columns = np.nonzero(slots)
    centre = ((rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2) if len(rows) else (0, 0)
    y = int(np.clip(centre[0] - WINDOW[0] // 2, 0, slots.shape[0] - WINDOW[0]))
    x = int(np.clip(centre[1] - WINDOW[1] // 2, 0, slots.shape[1] - WINDOW[1]))
    return y, x


@dataclass(frozen=True)
class Instance:
    """One rendered object and the words that are true of it."""

    model: ObjectModel
    facts: Facts


def make_pool(config: PretrainConfig, kind: Kind, shard: int) -> tuple[Instance, ...]:
    """The instances that the scenes of one shard show: one of every category, newly varied for each shard.

    Training and seen validation: varied instances, which keep away from every held-out one. Unseen validation: the held-out
    instances themselves, for measuring only.
    """
    rng = generator(_seed(config, kind, shard), _STREAM[kind], 1)
    everything = catalogue()
    names = everything.unseen if kind == "valid_unseen" else everything.names if kind == "train" else everything.seen
    if config.hide_unseen and kind == "train":
        names = everything.seen
    pool = []
    for name in names:
        entry = everything[name]
        variation, attributes = (None, describe(entry)) if kind == "valid_unseen" else sample_variation(entry, rng)
        pool.append(Instance(build(entry, variation), facts_of(entry, attributes)))
    return tuple(pool)


def _seed(config: PretrainConfig, kind: Kind, index: int) -> tuple[int, int, int]:
    return episode_seed(config.seed, Domain.PRETRAIN if kind == "train" else Domain.PRETRAIN_VALID, index)


def _taught(config: PretrainConfig, kind: Kind, index: int, names: Sequence[str]) -> list[Instance]:
    """Up to three of the objects to be taught, varied for training and as they are for validation."""
    rng = generator(_seed(config, kind, index), _STREAM[kind], _TAUGHT)
    out = []
    for name in rng.permutation(sorted(names))[:_MOST_TAUGHT]:
        entry = catalogue()[str(name)]
        variation, attributes = sample_variation(entry, rng) if kind == "train" else (None, describe(entry))
        out.append(Instance(build(entry, variation), facts_of(entry, attributes)))
    return out


def with_twins(chosen: Sequence[Instance], rng: np.random.Generator) -> list[Instance]:
    """A scene in which up to three objects lie beside what is easily confused with them: another one of the same category in
    another colour, or, for every other one, an object of another category in the same colour. Twins take the place of objects
    that have none; there are as many as before.
    """
    out: list[Instance] = []
    order = [chosen[i] for i in rng.permutation(len(chosen))]
    free = [instance for instance in order if catalogue()[instance.facts.name].recolor]
    anchors = order[: min(int(rng.integers(1, _MOST_TWINS + 1)), len(order) // 2)]
    for number, instance in enumerate(anchors):
        others = [other for other in free if other.facts.name != instance.facts.name]
        same_kind = number % 2 == 0 and instance in free
        if not same_kind and not others:
            continue
        name = instance.facts.name if same_kind else others[number % len(others)].facts.name
        for _ in range(_DRAWS):
            variation, attributes = sample_variation(catalogue()[name], rng)
            facts = facts_of(catalogue()[name], attributes)
            if bool(set(facts.colors) & set(instance.facts.colors)) is not same_kind:
                out.append(Instance(build(catalogue()[name], variation), facts))
                break
    return [*anchors, *out, *order[len(anchors) :]][: len(chosen)]


def choose(pool: Sequence[Instance], count: int, rng: np.random.Generator) -> list[Instance]:
    """Objects of a training scene. Half of the scenes gather what is easily confused: the same colour, category or use."""
    weights = np.ones(len(pool))
    if rng.random() < _THEMED:
        anchor = pool[int(rng.integers(len(pool)))].facts
        for index, other in enumerate(o.facts for o in pool):
            alike = bool({*anchor.colors, *anchor.general, *anchor.functions} & {*other.colors, *other.general, *other.functions})
            weights[index] = _THEME_WEIGHT if alike else 1.0
    return [pool[i] for i in rng.choice(len(pool), size=count, replace=False, p=weights / weights.sum())]


def render_scene(
    world: World, config: PretrainConfig, kind: Kind, index: int, pool: Sequence[Instance], taught: Sequence[str] = ()
) -> tuple[U8, U8, tuple[Facts, ...]]:
    """One scene: views (3, H, W, 3), slots (3, H, W) (slot + 1, 0 = nothing), facts per slot.

    Light and the colour of the table are random. Training views are cut to a window around the objects. Of the names ``taught``
    some take the places of others in every scene of training and of their own validation.
    """
    rng = generator(_seed(config, kind, index), _STREAM[kind])
    fewest = config.objects_min if kind == "train" else config.objects_max
    count = min(int(rng.integers(fewest, config.objects_max + 1)), len(pool))
    chosen = choose(pool, count, rng) if kind == "train" else [pool[i] for i in rng.choice(len(pool), size=count, replace=False)]
    twinning = generator(_seed(config, kind, index), _STREAM[kind], _TWINS)
    if kind == "train" and twinning.random() < config.twins:
        chosen = with_twins(chosen, twinning)
    if taught and kind in ("train", "valid_taught"):
        own = _taught(config, kind, index, taught)
        others = [instance for instance in chosen if instance.facts.name not in taught]
        chosen = [*own, *others[: max(0, count - len(own))]]
    world.reset([c.model for c in chosen], _drops(count, world.config, kind, rng), table_color=_table(rng), light=_light(rng))
    observation, segmentation = world.observe(rng)
    rgb, slots = observation.rgb, segmentation.astype(np.uint8)
    if kind == "train":
        corners = [_window(s) for s in slots]
        h, w = WINDOW
        rgb = np.stack([v[y : y + h, x : x + w] for v, (y, x) in zip(rgb, corners, strict=True)])
        slots = np.stack([v[y : y + h, x : x + w] for v, (y, x) in zip(slots, corners, strict=True)])
    return rgb, slots, tuple(c.facts for c in chosen)


def render_shard(
    config: PretrainConfig, sim: SimConfig, kind: Kind, folder: Path, shard: int, scenes: int, taught: Sequence[str] = ()
) -> None:
    """Render the scenes of one shard and write it; a shard that is there with all its scenes is left alone.

    Training views have no sensor noise (it is added in training), and objects settle only briefly: nothing is grasped here.

    Args:
        scenes: number of scenes of this kind in all; the last shard may be shorter.
        taught: names of objects that training and their own validation show more often.
    """
    path = shard_path(folder, shard)
    first = shard * SCENES_PER_SHARD
    if path.is_dir() and len(read_shard(path).rgb) >= min(SCENES_PER_SHARD, scenes - first):
        return
    brief = {"noise": False, "drop_interval": _DROP_INTERVAL, "settle_limit": _SETTLE_LIMIT}
    with World(sim.model_copy(update=brief) if kind == "train" else sim, robot=False) as world:
        pool = make_pool(config, kind, shard)
        parts = [render_scene(world, config, kind, i, pool, taught) for i in range(first, min(first + SCENES_PER_SHARD, scenes))]
    if len(parts[0][0]) != VIEWS:
        raise ValueError(f"pre-training expects {VIEWS} views, the cell has {len(parts[0][0])}")
    rgb, slots = np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])
    write_shard(path, Shard(rgb, slots, tuple(p[2] for p in parts)))
