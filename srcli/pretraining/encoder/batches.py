"""Batches: augmented crops, the objects in them, and sentences about them. Everything follows from (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from srcli.config.pretrain import PretrainConfig
from srcli.perception.encoders.embedded import BLACK, image_tensor
from srcli.perception.encoders.tower import STRIDE
from srcli.pretraining.encoder.captions import caption, place_caption
from srcli.pretraining.encoder.concepts import Concept, Facts, concepts
from srcli.pretraining.encoder.lexicon import Lexicon
from srcli.pretraining.encoder.store import SCENES_PER_SHARD, VIEWS, read_shard, shard_path
from srcli.seeding import Domain, episode_seed, generator
from srcli.types import I64, U8, Bool

_SCALE = (0.87, 1.2)
_MIN_CELLS = 3
_KIND_WEIGHT = {"label": 0.4, "colored": 0.2, "general": 0.13, "attribute": 0.12, "function": 0.15}
_NEGATIVE_SHARE = 0.3
_TEXTURED_TABLE, _TEXTURED_OBJECT = 0.35, 0.12
"""Share of tables and of objects that are given a pattern."""
_MOST_PASTED, _PASTED_PIXELS = 3, 150
"""Most objects of another scene laid over a view, and what of one must be visible there, pixels."""


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        images: (B, 3, h, w) float32.
        region_cells: per region, flat indices into the (B, h / 8, w / 8) grid.
        patch_cells: (P,) flat indices of single object cells; patch_owner: (P,) their region.
        table_cells: (Q,) flat indices of cells on nothing.
        texts: T sentences; text_truth: (T, R).
        name_truth: (C, R) for the lexicon's names.
        relations: sentences for placing; relation_truth: (S,) the group of their relation (:data:`captions.RELATIONS`).
    """

    images: Tensor
    region_cells: tuple[I64, ...]
    patch_cells: I64
    patch_owner: I64
    table_cells: I64
    texts: tuple[str, ...]
    relations: tuple[str, ...]
    relation_truth: I64
    text_truth: Bool
    name_truth: Bool


@dataclass(frozen=True)
class View:
    """What one camera saw: rgb (H, W, 3) and slots (H, W) uint8 (slot + 1, 0 on nothing), and the facts of the slots."""

    rgb: U8
    slots: U8
    facts: tuple[Facts, ...]


def _view(folder: Path, scene: int, view: int) -> View:
    shard = read_shard(shard_path(folder, scene // SCENES_PER_SHARD))
    inside = scene % SCENES_PER_SHARD
    return View(shard.rgb[inside, view], shard.slots[inside, view], shard.facts[inside])


def scenes_in_use(config: PretrainConfig, step: int) -> int:
    """The number of scenes that a step may draw from: it grows with the step, not with the clock."""
    return min(config.scenes, config.first_scenes + int(step * config.scenes_per_step))


def _crop(rgb: U8, slots: U8, config: PretrainConfig, top_view: bool, rng: np.random.Generator) -> tuple[Tensor, I64]:
    """A random crop at a random scale, flipped: image (3, h, w) float and the slot (+ 1) at the centre of every cell."""
    height, width = config.crop_height, config.crop_width
    scale = float(np.exp(rng.uniform(*np.log(_SCALE)))) if rng.random() < 0.6 else 1.0
    scale = max(scale, height / rgb.shape[0], width / rgb.shape[1])
    h, w = min(round(height / scale), rgb.shape[0]), min(round(width / scale), rgb.shape[1])
    y, x = _corner(slots, h, w, rng)
    image = _textured(image_tensor(np.array(rgb[None, y : y + h, x : x + w])), slots[y : y + h, x : x + w], rng)
    if (h, w) != (height, width):
        image = functional.interpolate(image, (height, width), mode="bilinear", align_corners=False, antialias=False)
    rows = y + np.minimum(((np.arange(height // STRIDE) * STRIDE + 3.5) * h / height).round().astype(np.int64), h - 1)
    columns = x + np.minimum(((np.arange(width // STRIDE) * STRIDE + 3.5) * w / width).round().astype(np.int64), w - 1)
    cells = np.asarray(slots[np.ix_(rows, columns)], np.int64)
    if rng.random() < 0.5:
        image, cells = image.flip(-1), cells[:, ::-1]
    if top_view and rng.random() < 0.5:
        image, cells = image.flip(-2), cells[::-1]
    return _recolor(image, rng)[0], np.ascontiguousarray(cells)


def _paste(view: View, other: View, rng: np.random.Generator) -> View:
    """Up to three objects of another scene, as the same camera saw them, laid over this one (copy-paste, Ghiasi et al. 2021).

    More of what lies there is hidden, and everything is seen in more surroundings, than was rendered.
    """
    rgb, slots, facts = np.array(view.rgb), np.array(view.slots), list(view.facts)
    there = np.argwhere(slots)
    found, pixels = np.unique(other.slots, return_counts=True)
    large = found[(found > 0) & (pixels >= _PASTED_PIXELS)]
    for slot in rng.permutation(large)[: int(rng.integers(1, _MOST_PASTED + 1))]:
        source = np.argwhere(other.slots == slot)
        aim = there[int(rng.integers(len(there)))] if len(there) else source.mean(axis=0)
        target = source + np.round(aim - source.mean(axis=0)).astype(np.int64)
        inside = ((target >= 0) & (target < slots.shape)).all(axis=1)
        (y, x), (rows, columns) = source[inside].T, target[inside].T
        facts.append(other.facts[int(slot) - 1])
        rgb[rows, columns], slots[rows, columns] = other.rgb[y, x], len(facts)
    return View(rgb, slots, tuple(facts))


def _corner(slots: U8, h: int, w: int, rng: np.random.Generator) -> tuple[int, int]:
    """Where a crop (h, w) begins: around the middle of two pixels of objects, so that it shows many; inside the view."""
    where = np.flatnonzero(slots)
    picked = rng.choice(where, size=2) if len(where) else rng.integers(slots.size, size=2)
    middle = np.stack(np.unravel_index(picked, slots.shape)).mean(axis=1)
    y, x = np.clip(np.round(middle - (h / 2, w / 2)), 0, (slots.shape[0] - h, slots.shape[1] - w)).astype(int)
    return int(y), int(x)


def _textured(image: Tensor, slots: U8, rng: np.random.Generator) -> Tensor:
    """A pattern of lighter and darker patches over the table, or over single objects, of some crops: (1, 3, h, w) and (h, w)."""
    height, width = slots.shape
    factor = np.ones((height, width), np.float32)
    for slot in np.unique(slots):
        if rng.random() >= (_TEXTURED_TABLE if slot == 0 else _TEXTURED_OBJECT):
            continue
        rough = rng.standard_normal((1, 1, -(-height // int(rng.integers(3, 25))), -(-width // int(rng.integers(3, 25)))))
        pattern = functional.interpolate(torch.from_numpy(rough.astype(np.float32)), (height, width), mode="bilinear")[0, 0]
        strength = float(rng.uniform(0.03, 0.15 if slot == 0 else 0.09))
        inside = np.asarray(slots == slot)
        factor[inside] = np.exp(strength * pattern.numpy()[inside])
    return (image - BLACK) * torch.from_numpy(factor) + BLACK


def _recolor(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Gain, colour cast, offset, blur and noise, in units of the scaled image (1 = a quarter of the range)."""
    gain = float(rng.uniform(0.75, 1.25)) * torch.tensor(rng.uniform(0.93, 1.07, 3), dtype=torch.float32)
    image = (image - BLACK) * gain[None, :, None, None] + BLACK + float(rng.uniform(-0.12, 0.12))
    if rng.random() < 0.25:
        image = functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False)
    if rng.random() < 0.8:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.0, 0.16))
        image = image + torch.from_numpy(noise)
    return image


def _choose_texts(owned: list[frozenset[Concept]], lexicon: Lexicon, count: int, rng: np.random.Generator) -> dict[str, Concept]:
    """Sentences about the regions in turn, by kind, and some about concepts drawn from the whole lexicon."""
    texts: dict[str, Concept] = {}
    wanted = round(count * (1.0 - _NEGATIVE_SHARE))
    order: npt.NDArray[np.int64] = rng.permutation(len(owned))
    kinds, weights = tuple(_KIND_WEIGHT), np.array(tuple(_KIND_WEIGHT.values()))
    for i in range(3 * wanted):
        if len(texts) >= wanted or not owned:
            break
        kind = kinds[int(rng.choice(len(kinds), p=weights))]
        pool = sorted(c for c in owned[order[i % len(owned)]] if c.kind == kind)
        if pool:
            concept = pool[int(rng.integers(len(pool)))]
            texts.setdefault(caption(concept, rng), concept)
    for index in rng.integers(len(lexicon.concepts), size=count - len(texts)):
        texts.setdefault(caption(lexicon.concepts[index], rng), lexicon.concepts[index])
    return texts


def make_batch(config: PretrainConfig, folder: Path, lexicon: Lexicon, step: int) -> Batch:
    """The batch of a step."""
    rng = generator(episode_seed(config.seed, Domain.PRETRAIN, 0), 1, step)
    known = lexicon.concept_set
    owned: list[frozenset[Concept]] = []
    images, region_cells, patches, owners, table = [], [], [], [], []
    grid = (config.crop_height // STRIDE) * (config.crop_width // STRIDE)
    scenes = scenes_in_use(config, step)
    # A stream of its own: without pasting a batch is what it would be if there were none.
    pasting = generator(episode_seed(config.seed, Domain.PRETRAIN, 0), 2, step)
    for b, scene in enumerate(rng.choice(scenes, size=config.batch, replace=False)):
        camera = int(rng.integers(VIEWS))
        view = _view(folder, int(scene), camera)
        if pasting.random() < config.pasted:
            view = _paste(view, _view(folder, int(pasting.integers(scenes)), camera), pasting)
        image, cells = _crop(view.rgb, view.slots, config, camera == 0, rng)
        images.append(image)
        flat = cells.reshape(-1)
        for value in np.unique(flat[flat > 0]):
            where = np.flatnonzero(flat == value)
            if len(where) < _MIN_CELLS:
                continue
            picked = rng.choice(where, size=min(config.patches, len(where)), replace=False)
            patches.append(picked + b * grid)
            owners.append(np.full(len(picked), len(owned), np.int64))
            owned.append(concepts(view.facts[int(value) - 1]) & known)
            region_cells.append(where + b * grid)
        empty = np.flatnonzero(flat == 0)
        table.append(rng.choice(empty, size=min(12, len(empty)), replace=False) + b * grid)
    texts = _choose_texts(owned, lexicon, config.texts, rng)
    text_truth, name_truth = _truth(tuple(texts.values()), owned), _truth(lexicon.names, owned)
    nouns = [lexicon.names[i].phrase for i in rng.integers(len(lexicon.names), size=config.relations)]
    placed = [place_caption(noun, rng) for noun in nouns]
    none: list[I64] = [np.zeros(0, np.int64)]
    return Batch(
        torch.stack(images).to(memory_format=torch.channels_last),
        tuple(region_cells),
        np.concatenate(patches or none),
        np.concatenate(owners or none),
        np.concatenate(table),
        tuple(texts),
        tuple(text for text, _ in placed),
        np.array([group for _, group in placed], np.int64),
        text_truth,
        name_truth,
    )


def _truth(said: Sequence[Concept], owned: Sequence[frozenset[Concept]]) -> Bool:
    return np.array([[c in o for o in owned] for c in said], np.bool_).reshape(len(said), len(owned))
