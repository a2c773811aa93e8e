"""Small settings of pre-training, and scenes of coloured squares in the place of rendered ones."""

from __future__ import annotations

import numpy as np

from srcli.config.pretrain import PretrainConfig
from srcli.objects import catalogue, describe
from srcli.pretraining.encoder.lexicon import facts_of
from srcli.pretraining.encoder.store import Shard, shard_path, write_shard

SIZE = {
    "crop_height": 64,
    "crop_width": 64,
    "batch": 2,
    "texts": 16,
    "scenes": 20,
    "first_scenes": 20,
    "valid_scenes": 4,
    "warmup": 1,
}


def small(**changes):
    return PretrainConfig(**{**SIZE, "steps": 4, "checkpoint_every": 2, "validate_every": 4, **changes})


def painted_shard(folder, scenes, size=(80, 96), seed=0):
    """Scenes of coloured squares; the facts are those of catalogue entries."""
    rng = np.random.default_rng(seed)
    names = catalogue().names
    rgb = np.full((scenes, 3, *size, 3), 90, np.uint8)
    slots = np.zeros((scenes, 3, *size), np.uint8)
    facts = []
    for s in range(scenes):
        chosen = rng.choice(names, 3, replace=False)
        facts.append(tuple(facts_of(catalogue()[n], describe(catalogue()[n])) for n in chosen))
        for view in range(3):
            for slot, (y, x) in enumerate(((4, 4), (40, 8), (20, 48))):
                slots[s, view, y : y + 32, x : x + 32] = slot + 1
                rgb[s, view, y : y + 32, x : x + 32] = rng.integers(0, 256, 3)
    write_shard(shard_path(folder, 0), Shard(rgb, slots, tuple(facts)))
