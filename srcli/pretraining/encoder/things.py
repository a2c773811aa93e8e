"""What the picture side makes of things, as the text tower's other half: features of rendered objects, with their names.

A sentence lies near the name that it means and still a good way off (a cosine of 0.7); in which direction it is off decides which
other things it seems to mean. So it is contrasted with what is really seen, too, not with names alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srcli.config.pretrain import PretrainConfig
from srcli.config.sim import SimConfig
from srcli.perception.encoders.embedded import EmbeddedModel, dense_forward, image_tensor
from srcli.perception.encoders.tower import STRIDE
from srcli.seeding import generator

if TYPE_CHECKING:
    from srcli.config.pretrain import LanguageTrainingConfig

_SCENES_PER_POOL = 10
_LEAST_CELLS, _PATCHES = 6, 2
"""Visible cells of an object that counts, in one view, and single places on it that stand beside its mean."""
_STREAM = 52
_HELD_BACK = 8
"""Every so many scenes one is kept for measuring."""


@dataclass(frozen=True)
class Things:
    """Features of objects in rendered scenes, by the picture side as it is.

    Attributes:
        features: (R, D) unit length: of each object in each view the mean over its cells, and 3x3 means of a few places on it.
        names: (R,) position of each one's object among ``Language.names``.
        scenes: of scenes kept for measuring, (S, D) the objects' means over all views, with their names.
    """

    features: Tensor
    names: Tensor
    scenes: tuple[tuple[Tensor, Tensor], ...]

    @property
    def digest(self) -> str:
        """Of everything in it."""
        found = hashlib.sha256(self.features.numpy().tobytes())
        found.update(self.names.numpy().tobytes())
        return found.hexdigest()


def look_at_things(
    config: LanguageTrainingConfig,
    first: EmbeddedModel,
    names: Sequence[str],
    cache: Path,
    told: Callable[[int, int], None],
) -> Things | None:
    """Render scenes and look at them, or take what an earlier run saw; None where no scenes are wanted.

    Only instances in the colours that the catalogue gives their object are kept: of a purple banana "something yellow" is not
    true. Held-out instances are never shown (``sample_variation``).

    Args:
        names: objects by position; of others nothing is shown.
        cache: folder where the features are kept.
        told: receives scenes done and in all.
    """
    if not config.scenes:
        return None
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    key = hashlib.sha256(json.dumps([first.sha256, config.seed, config.scenes, *names]).encode()).hexdigest()
    kept = cache / "things.safetensors"
    stored: dict[str, Tensor] = {}
    # Where nothing is kept, or nothing that can be read, scenes are rendered again.
    with suppress(OSError, SafetensorError):
        stored = load_file(kept)
    if f"{key}/features" not in stored:
        features, found, scene, whole = _render(config, first, names, told)
        stored = {f"{key}/features": features, f"{key}/names": found, f"{key}/scene": scene, f"{key}/whole": whole}
        temporary = kept.with_name(f".{kept.name}")
        save_file(stored, temporary)
        temporary.replace(kept)
    features, found, scene, whole = (stored[f"{key}/{part}"] for part in ("features", "names", "scene", "whole"))
    back = scene % _HELD_BACK == _HELD_BACK - 1
    used = ~back & (whole < 0)
    measured = [(back & (whole == number)).nonzero()[:, 0] for number in range(config.scenes)]
    scenes = tuple((features[rows], found[rows]) for rows in measured if len(rows) > 1)
    return Things(features[used], found[used], scenes)


def _render(
    config: LanguageTrainingConfig, first: EmbeddedModel, names: Sequence[str], told: Callable[[int, int], None]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, positions among the names, scenes; and for means over all views their scene, else -1."""
    from srcli.objects import catalogue, describe
    from srcli.pretraining.encoder.lexicon import facts_of
    from srcli.pretraining.encoder.render import make_pool, render_scene
    from srcli.sim.world import World

    place = {name: number for number, name in enumerate(names)}
    own = {name: set(facts_of(catalogue()[name], describe(catalogue()[name])).colors) for name in names}
    scenes = PretrainConfig(seed=config.seed, hide_unseen=first.hides_unseen)
    features: list[Tensor] = []
    found: list[tuple[int, int, int]] = []
    sim = SimConfig().model_copy(update={"drop_interval": 24, "settle_limit": 120})
    with World(sim, robot=False) as world:
        for scene in range(config.scenes):
            if scene % _SCENES_PER_POOL == 0:
                pool = make_pool(scenes, "train", scene // _SCENES_PER_POOL)
            rgb, slots, facts = render_scene(world, scenes, "train", scene, pool)
            rng = generator((config.seed, scene), _STREAM)
            with torch.inference_mode():
                dense = functional.normalize(dense_forward(first.model, image_tensor(rgb)), dim=1)
                smooth = functional.avg_pool2d(dense, 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
                dense = dense.permute(0, 2, 3, 1)
            cells = torch.from_numpy(np.array(slots[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]))
            for slot, fact in enumerate(facts):
                if fact.name not in place or set(fact.colors) != own[fact.name]:
                    continue
                everywhere = cells == slot + 1
                if int(everywhere.sum()) >= _LEAST_CELLS:
                    features.append(dense[everywhere].mean(0))
                    found.append((place[fact.name], scene, scene))
                for view in range(len(cells)):
                    here = everywhere[view].nonzero()
                    if len(here) < _LEAST_CELLS:
                        continue
                    some = here[torch.from_numpy(rng.choice(len(here), _PATCHES, replace=False))]
                    features += [dense[view][everywhere[view]].mean(0), *smooth[view][some[:, 0], some[:, 1]]]
                    found += [(place[fact.name], scene, -1)] * (1 + _PATCHES)
            told(scene + 1, config.scenes)
    rows = torch.tensor(found)
    return functional.normalize(torch.stack(features), dim=-1).clone(), rows[:, 0].clone(), rows[:, 1].clone(), rows[:, 2].clone()


def seen_contrast(pooled: Tensor, truth: Tensor, doubtful: Tensor, features: Tensor, names: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each sentence over things that are seen, uniform over those that it means.

    Args:
        pooled: (T, D) sentences.
        truth, doubtful: (T, N) as :func:`~srcli.pretraining.encoder.lessons.targets` gives them.
        features, names: (R, D), (R,) of things, some of each step.
    """
    meant = truth[:, names] > 0
    logits = (pooled @ features.T / temperature).masked_fill(doubtful[:, names], -1e4)
    count = meant.sum(dim=1)
    rows = count > 0
    log_p = functional.log_softmax(logits[rows], dim=1)
    return -((log_p * meant[rows]).sum(dim=1) / count[rows]).mean()


@torch.no_grad()
def found_in_scenes(things: Things, pooled: Tensor, truth: Tensor, doubtful: Tensor) -> float:
    """Share of (sentence, scene) pairs whose most similar object is meant, over scenes with one that is and one that is not.

    Objects that may be meant as well are left out.
    """
    right: list[Tensor] = []
    for features, names in things.scenes:
        meant, left_out = truth[:, names] > 0, doubtful[:, names]
        asked = meant.any(dim=1) & (~meant & ~left_out).any(dim=1)
        best = (pooled[asked] @ features.T).masked_fill(left_out[asked], -2.0).argmax(dim=1)
        right.append(meant[asked].gather(1, best[:, None])[:, 0])
    return float(torch.cat(right).float().mean()) if right and sum(map(len, right)) else 0.0
