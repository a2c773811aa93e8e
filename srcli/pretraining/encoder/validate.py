"""Measuring an encoder on validation scenes: naming of regions, and finding what a sentence asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srcli.perception.encoders.tower import STRIDE
from srcli.pretraining.encoder.concepts import Concept, Facts, concepts
from srcli.pretraining.encoder.lexicon import Lexicon
from srcli.pretraining.encoder.store import SCENES_PER_SHARD, read_shard, shard_path
from srcli.seeding import Domain, episode_seed, generator
from srcli.types import F32, U8

Dense = Callable[[U8], F32]
Text = Callable[[Sequence[str]], F32]
Array = npt.NDArray[np.float32]

_PROMPT = {
    "label": "give me the {}",
    "general": "I need a {}",
    "attribute": "grasp a {} object",
    "function": "get something to {}",
}
_SHARE = {"label": 0.4, "general": 0.2, "attribute": 0.2, "function": 0.2}
_MIN_CELLS = 6


def smooth(similarity: Array) -> Array:
    """3x3 mean over the grid of each view (..., h, w); at the border over the cells that exist."""
    pad = [(0, 0)] * (similarity.ndim - 2) + [(1, 1), (1, 1)]
    total, count = np.pad(similarity, pad), np.pad(np.ones_like(similarity), pad)
    h, w = similarity.shape[-2:]
    shifts = [(i, j) for i in range(3) for j in range(3)]
    summed = sum(total[..., i : i + h, j : j + w] for i, j in shifts)
    weight = sum(count[..., i : i + h, j : j + w] for i, j in shifts)
    return np.asarray(summed / weight, np.float32)


def _keywords(facts: Facts) -> dict[str, tuple[str, ...]]:
    return {"label": facts.labels[:1], "general": facts.general, "attribute": facts.attributes, "function": facts.functions}


def validate(
    folder: Path,
    scenes: int,
    lexicon: Lexicon,
    dense: Dense,
    text: Text,
    seed: int,
    only: frozenset[str] | None = None,
) -> dict[str, float]:
    """Shares of validation scenes in which the encoder is right.

    Args:
        folder: shards of full views.
        dense: (M, H, W, 3) uint8 to (M, h, w, D) unit-length features on cells of 8 x 8 pixels.
        text: sentences to (T, D) unit-length embeddings.
        only: regions and words of these catalogue names alone; None: of all.

    Returns:
        ``region_name``: regions (pooled over all views) whose most similar name is true of them; ``patch_KIND`` and
        ``region_KIND``: sentences whose most similar 3x3-averaged cell, or pooled region, is a valid target;
        ``patch`` and ``region``: their mean weighted by the share of each kind among instructions; ``chance``: share of valid
        regions, weighted in the same way.
    """
    names = text([c.phrase for c in lexicon.names])
    named: list[bool] = []
    hits: dict[str, list[bool]] = {}
    chances: dict[str, list[float]] = {}
    for scene in range(scenes):
        shard = read_shard(shard_path(folder, scene // SCENES_PER_SHARD))
        inside = scene % SCENES_PER_SHARD
        facts = shard.facts[inside]
        cells = np.asarray(shard.slots[inside][:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE])
        visible = [s for s in range(len(facts)) if int((cells == s + 1).sum()) >= _MIN_CELLS]
        if not visible:
            continue
        features = dense(np.array(shard.rgb[inside]))
        pooled = np.stack([features[cells == s + 1].mean(0) for s in visible])
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        truths = [concepts(facts[s]) for s in visible]
        asked = [s for s in visible if only is None or facts[s].name in only]
        found_names = (pooled @ names.T).argmax(1)
        named += [lexicon.names[i] in t for s, i, t in zip(visible, found_names, truths, strict=True) if s in asked]
        rng = generator(episode_seed(seed, Domain.PRETRAIN_VALID, scene), 9)
        for kind, prompt in _PROMPT.items():
            words = sorted({w for s in asked for w in _keywords(facts[s])[kind]})
            for word in rng.permutation(words)[:3]:
                valid = [s for s, t in zip(visible, truths, strict=True) if Concept(kind, word) in t]  # type: ignore[arg-type]
                embedded = text([prompt.format(word)])[0]
                similarity = smooth(np.asarray(features @ embedded, np.float32))
                found = int(cells.reshape(-1)[int(similarity.argmax())]) - 1
                hits.setdefault(f"patch_{kind}", []).append(found in valid)
                hits.setdefault(f"region_{kind}", []).append(visible[int((pooled @ embedded).argmax())] in valid)
                chances.setdefault(kind, []).append(len(valid) / len(visible))
    out = {key: float(np.mean(values)) for key, values in hits.items()}
    out["region_name"] = float(np.mean(named)) if named else 0.0
    kinds = [k for k in _SHARE if k in chances]
    weight = sum(_SHARE[k] for k in kinds) or 1.0
    for route in ("patch", "region"):
        out[route] = sum(_SHARE[k] * out[f"{route}_{k}"] for k in kinds) / weight
    out["chance"] = sum(_SHARE[k] * float(np.mean(chances[k])) for k in kinds) / weight
    return out
