"""Can a network learn where a sentence points: picks among similar objects, and placements "near" or "on" a reference?

Made-up scenes: blobs on a table, one random unit feature per object class (an unseen class never occurs in training), a vector
per word, noise on everything. After training on few demonstrations it prints, on scenes of unseen classes: the share of right
first choices for picks, placements, and placements named by words that training never used; the share of scenes in which
exchanging the relation, or the noun, makes the choice right for the new sentence; the same for the plain reading of similarity
around each candidate.
Run: ``python benchmarks/relations.py [--methods sr sr_a base] [--updates 300] [--samples 800]``. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from srcli.config.train import AugmentConfig
from srcli.learning.augment import augment, random_rotation
from srcli.methods.registry import settings, spec_of
from srcli.methods.sr.network import SRNetwork, build_network
from srcli.methods.sr.section import SRConfig
from srcli.models.batch import Batch
from srcli.types import F64

Sample = dict[str, npt.NDArray[Any]]
SEEN = {"on": "on", "in": "on", "to": "on", "near": "around", "around": "around", "next to": "around"}
UNSEEN = {"upside": "on", "on top of": "on", "beside": "around", "close to": "around", "surrounding to": "around"}
TOKENS, PER_POINT = 12, ("points", "features", "similarity", "point_mask")


def unit(x: F64) -> F64:
    """Scaled to length 1 along the last axis."""
    scaled: F64 = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return scaled


@dataclass(frozen=True)
class Bank:
    """The joint space: object classes in groups of similar ones, words, and what all features have in common."""

    classes: F64
    table: F64
    filler: F64
    relations: dict[str, F64]
    common: F64
    group: int

    @staticmethod
    def make(dim: int, seed: int, alike: float = 0.5, classes: int = 80, group: int = 4) -> Bank:
        """``alike``: cosine between two classes of one group, before what is common to all."""
        rng = np.random.default_rng(seed)

        def draw(*shape: int) -> F64:
            return unit(rng.normal(size=(*shape, dim)))

        groups = np.repeat(draw(classes // group), group, axis=0)
        members = unit(math.sqrt(alike) * groups + math.sqrt(1 - alike) * draw(classes))
        seen = {word: draw() for word in SEEN}
        kin = {kind: [seen[word] for word in SEEN if SEEN[word] == kind] for kind in ("on", "around")}
        unseen = {w: unit(kin[kind][i % 3] + 0.8 * draw()) for i, (w, kind) in enumerate(UNSEEN.items())}
        return Bank(members, draw(), draw(8), {**seen, **unseen}, draw(), group)

    def noisy(self, x: F64, rng: np.random.Generator, noise: float) -> F64:
        """Unit features of ``x`` with what is common to all and noise of that length."""
        return unit(x + 0.7 * self.common + noise * unit(rng.normal(size=x.shape)))


@dataclass(frozen=True)
class Scene:
    """Blobs (cylinders): centres (S, 2), radii, heights in metres, classes; points (P, 3) with owner (-1 the table), features."""

    centres: F64
    radii: F64
    heights: F64
    kinds: npt.NDArray[np.int64]
    points: F64
    owner: npt.NDArray[np.int64]
    features: F64


def make_scene(bank: Bank, pool: npt.NDArray[np.int64], rng: np.random.Generator, objects: int, spacing: float) -> Scene:
    """Objects at random places at least ``spacing`` apart; half of the classes come from one group."""
    centres: list[F64] = []
    while len(centres) < objects:
        spot = rng.uniform([0.32, -0.18], [0.68, 0.18])
        if all(np.linalg.norm(spot - other) > spacing for other in centres):
            centres.append(spot)
    first = rng.choice(pool)
    mates = [c for c in pool if c // bank.group == first // bank.group and c != first][: objects // 3]
    others = rng.choice([c for c in pool if c != first and c not in mates], objects - 1 - len(mates), replace=False)
    kinds = np.array([first, *mates, *others], dtype=np.int64)
    radii, heights = rng.uniform(0.02, min(0.045, spacing / 2), objects), rng.uniform(0.02, 0.08, objects)
    points, owner = [], []
    for i in range(objects):
        n = int(rng.integers(40, 90))
        angle, share = rng.uniform(0, 2 * np.pi, n), np.where(rng.random(n) < 0.5, 1.0, np.sqrt(rng.random(n)))
        z = np.where(share < 1.0, heights[i], heights[i] * rng.random(n))
        ring = radii[i] * share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points.append(np.column_stack([centres[i] + ring, z]))
        owner.append(np.full(n, i))
    table = rng.uniform([0.28, -0.22, 0.0], [0.72, 0.22, 0.001], (500, 3))
    cloud, owners = np.concatenate([*points, table]), np.concatenate([*owner, np.full(500, -1)])
    own = unit(bank.classes[kinds] + 0.35 * unit(rng.normal(size=(objects, bank.classes.shape[1]))))  # No two of a class alike.
    base = np.where((owners < 0)[:, None], bank.table, own[owners])
    return Scene(np.array(centres), radii, heights, kinds, cloud, owners, bank.noisy(base, rng, 0.9))


def sentence(bank: Bank, kind: int, relation: str, rng: np.random.Generator) -> tuple[F64, F64, npt.NDArray[np.bool_]]:
    """Pooled noun (D,), tokens (L, D) of a sentence with the relation at a changing place, and their mask."""
    pooled = bank.noisy(bank.classes[kind], rng, 0.6)
    words = list(rng.permutation(bank.filler)[: rng.integers(3, 6)])
    words += [bank.relations[relation]] if relation else []
    words += [bank.filler[0], bank.classes[kind]]
    tokens = np.zeros((TOKENS, len(pooled)))
    tokens[: len(words)] = unit(np.stack(words) + 0.3 * pooled + 0.4 * unit(rng.normal(size=(len(words), len(pooled)))))
    return pooled, tokens, np.arange(TOKENS) < len(words)


def candidates_of(scene: Scene, place: bool, rng: np.random.Generator) -> tuple[F64, npt.NDArray[np.int64]]:
    """Poses (K, 7) and the object below each (-1 the table): on every object, for placements also around it."""
    spots, below = [], []
    for i, centre in enumerate(scene.centres):
        for _ in range(2 if place else 4):
            spots.append([*(centre + scene.radii[i] * rng.uniform(-0.35, 0.35, 2)), scene.heights[i]])
            below.append(i)
        for _ in range(6 if place else 0):
            angle, reach = rng.uniform(0, 2 * np.pi), scene.radii[i] + rng.uniform(0.01, 0.16)
            spot = centre + reach * np.array([np.cos(angle), np.sin(angle)])
            gaps = np.linalg.norm(scene.centres - spot, axis=1) - scene.radii
            hit = int(np.argmin(gaps)) if gaps.min() < 0 else -1
            spots.append([*spot, scene.heights[hit] if hit >= 0 else 0.0])
            below.append(hit)
    poses = np.zeros((len(spots), 7))
    poses[:, :3] = np.array(spots) + rng.normal(0, 0.003, (len(spots), 3)) + [0, 0, 0.005 if place else -0.01]
    half = rng.uniform(0, np.pi, len(spots)) / 2
    poses[:, 3], poses[:, 4] = np.cos(half), np.sin(half)  # Tool z straight down.
    return poses, np.array(below)


def right_ones(scene: Scene, poses: F64, below: npt.NDArray[np.int64], kind: int, region: str) -> npt.NDArray[np.bool_]:
    """Which candidates the sentence means: on any object of the class, or 5 to 15 cm beside its middle, clear of all objects."""
    meant = scene.kinds == kind
    distance = np.linalg.norm(poses[:, None, :2] - scene.centres, axis=2)  # (K, S)
    if region != "around":
        right: npt.NDArray[np.bool_] = meant[below] & (below >= 0)
        return right
    free = (distance > scene.radii + 0.015).all(axis=1) & (below < 0)
    beside = (distance >= 0.05) & (distance <= 0.15)
    return np.asarray(free & (beside & meant).any(axis=1))


def make_sample(
    bank: Bank, scene: Scene, slot: int, relation: str, grid: tuple[F64, npt.NDArray[np.int64]], count: int, seed: int
) -> Sample:
    """One decision, padded: a pick when ``relation`` is empty. Points as the pipeline keeps them: the most similar without the
    table, or for placements half the most similar and half of the rest."""
    rng = np.random.default_rng(seed)
    kind, place = int(scene.kinds[slot]), bool(relation)
    pooled, tokens, token_mask = sentence(bank, kind, relation, rng)
    similarity = scene.features @ pooled
    order = np.argsort(-similarity + (0.0 if place else 9.0) * (scene.owner < 0))
    head = count // 2 if place else count
    kept = np.concatenate([order[:head], rng.permutation(order[head:])[: count - head]])
    real = np.ones(count, bool) if place else scene.owner[kept] >= 0
    poses, below = grid
    region = {**SEEN, **UNSEEN}[relation] if place else "pick"
    room = 64 if place else 40
    padded, mask = np.zeros((64, 7)), np.arange(64) < min(len(poses), room)
    padded[:, 6] = 1.0
    padded[mask] = poses[:room]
    valid = np.zeros(64, bool)
    valid[mask] = right_ones(scene, poses, below, kind, region)[:room]
    sample: dict[str, Any] = {
        "points": scene.points[kept],
        "features": scene.features[kept],
        "similarity": similarity[kept],
        "point_mask": real,
        "text": pooled,
        "tokens": tokens,
        "words": tokens,
        "token_mask": token_mask,
        "candidates": padded,
        "candidate_mask": mask,
        "quality": np.where(mask, rng.uniform(0.3, 1.0, 64), 0.0),
        "valid": valid,
        "place": np.array(place),
    }
    return {n: v.astype(np.float32) if v.dtype == np.float64 else v for n, v in sample.items()}


def family(
    bank: Bank, pool: npt.NDArray[np.int64], place: bool, count: int, seed: int, unseen: bool = False
) -> list[Sample] | None:
    """A pick; or a placement, the same with a relation of the other region, and the same with another noun. None: no room."""
    rng = np.random.default_rng(seed)
    scene = make_scene(bank, pool, rng, int(rng.integers(6, 9)) if place else 10, 0.1 if place else 0.07)
    grid = candidates_of(scene, place, rng)
    slot, other = 0, int(rng.integers(1, len(scene.kinds)))
    if not place:
        return [make_sample(bank, scene, slot, "", grid, count, seed)]
    words = UNSEEN if unseen else SEEN
    relation = str(rng.choice(list(words)))
    opposite = str(rng.choice([w for w in words if words[w] != words[relation]]))
    tasks = [(slot, relation), (slot, opposite), (other, relation)]
    samples = [make_sample(bank, scene, s, r, grid, count, seed + i) for i, (s, r) in enumerate(tasks)]
    return samples if all(s["valid"].any() for s in samples) else None


def draw_families(
    bank: Bank, pool: npt.NDArray[np.int64], place: bool, wanted: int, count: int, seed: int, unseen: bool = False
) -> list[list[Sample]]:
    """``wanted`` families with room for what is asked."""
    found: list[list[Sample]] = []
    while len(found) < wanted:
        seed += 10
        if (samples := family(bank, pool, place, count, seed, unseen)) is not None:
            found.append(samples)
    return found


def collate(samples: list[Sample]) -> tuple[Batch, torch.Tensor]:
    """The batch and the right candidates (B, K)."""
    stacked = {name: torch.from_numpy(np.stack([s[name] for s in samples])) for name in samples[0]}
    valid = stacked.pop("valid")
    return Batch(**stacked), valid


def train(network: SRNetwork, data: list[Sample], updates: int, batch: int, seed: int, rotate: float, lr: float = 1e-3) -> float:
    """Adam with warm-up and cosine, soft target over the right candidates; returns processor seconds per update."""
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.02)
    config, start = AugmentConfig(), time.process_time()
    for update in range(updates):
        rate = min(1.0, (update + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * update / updates)))
        for group in optimiser.param_groups:
            group["lr"] = lr * rate
        samples = [augment(data[i], config, rng) for i in rng.choice(len(data), batch, replace=False)]
        if rng.random() < rotate:
            turn = random_rotation(samples[0]["text"].shape[-1], rng)
            samples = [{**s, **{name: s[name] @ turn for name in ("features", "text", "tokens")}} for s in samples]
        inputs, valid = collate(samples)
        log_p = torch.log_softmax(network(inputs).logits, dim=1).masked_fill(~valid, 0.0)
        weight = valid * torch.where(inputs.place[:, None], torch.ones(()), inputs.quality)  # type: ignore[index]
        loss = -(weight * log_p).sum(dim=1) / weight.sum(dim=1)
        optimiser.zero_grad()
        loss.mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return (time.process_time() - start) / max(1, updates)


@torch.no_grad()
def right_choices(network: SRNetwork | None, samples: list[Sample]) -> npt.NDArray[np.bool_]:
    """Whether the best candidate is right, per sample; ``None``: best mean similarity within 2.5 cm of the candidate."""
    out = []
    for start in range(0, len(samples), 32):
        batch, valid = collate(samples[start : start + 32])
        logits = plain_reading(batch) if network is None else network(batch).logits
        out.append(valid.gather(1, logits.argmax(dim=1, keepdim=True))[:, 0].numpy())
    return np.concatenate(out)


def plain_reading(batch: Batch) -> torch.Tensor:
    """Mean similarity of the points within 2.5 cm of each candidate, (B, K)."""
    near = (torch.cdist(batch.candidates[..., :3], batch.points) < 0.025) & batch.point_mask[:, None]
    mean = (near * batch.similarity[:, None]).sum(dim=2) / near.sum(dim=2).clamp_min(1)
    return torch.where(near.any(dim=2) & batch.candidate_mask, mean, -torch.inf)


@dataclass(frozen=True)
class Exam:
    """Scenes of unseen classes: picks, placements by words of the training, and by other words, each with its two exchanges."""

    picks: list[Sample]
    seen: list[list[Sample]]
    unseen: list[list[Sample]]

    def take(self, network: SRNetwork | None) -> dict[str, float]:
        """All shares. ``swap_*``: the choice after the exchange is right for the new sentence; ``both_relations``: and the one
        before was right for the old."""
        first, relation, noun = (right_choices(network, [f[i] for f in self.seen]) for i in range(3))
        result = {
            "pick": right_choices(network, self.picks),
            "place": first,
            "place_unseen_words": right_choices(network, [f[0] for f in self.unseen]),
            "swap_relation": relation,
            "swap_noun": noun,
            "both_relations": first & relation,
        }
        return {name: round(float(value.mean()), 3) for name, value in result.items()}


def demonstrations(bank: Bank, pool: npt.NDArray[np.int64], count: int, points: int) -> list[Sample]:
    """Half picks, half placements."""
    half, rng = count // 2, np.random.default_rng(0)
    picks = draw_families(bank, pool, False, half, points, 10_000_000)
    places = draw_families(bank, pool, True, half, points, 20_000_000)
    return [f[0] for f in picks] + [f[int(rng.integers(3))] for f in places]


def exam(bank: Bank, pool: npt.NDArray[np.int64], count: int, points: int) -> Exam:
    """``count`` scenes of each sort."""
    return Exam(
        [f[0] for f in draw_families(bank, pool, False, count, points, 30_000_000)],
        draw_families(bank, pool, True, count, points, 40_000_000),
        draw_families(bank, pool, True, count, points, 50_000_000, unseen=True),
    )


def main() -> None:
    """Train and measure each method; print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["sr", "sr_a", "base", "sr_plus", "sr_a_plus", "base_plus"])
    for name, default in (("points", 256), ("dim", 128), ("batch", 32), ("updates", 300), ("samples", 800), ("test", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rotate", type=float, default=0.5, help="share of batches with a turned joint space")
    parser.add_argument("--alike", type=float, default=0.5, help="cosine between two classes of one group")
    parser.add_argument("--set", nargs="*", default=[], help='key of methods.sr as JSON: network.stage2.place_head="adapter"')
    args = parser.parse_args()
    torch.set_num_threads(1)
    bank = Bank.make(args.dim, args.seed, args.alike)
    data = demonstrations(bank, np.arange(56), args.samples, args.points)
    test = exam(bank, np.arange(56, 80), args.test, args.points)
    options = {key: json.loads(value) for key, _, value in (item.partition("=") for item in args.set)}
    chance = np.mean([f[0]["valid"].sum() / f[0]["candidate_mask"].sum() for f in test.seen])
    results: dict[str, Any] = {"chance_place": round(float(chance), 3), "plain_similarity": test.take(None)}
    sys.stderr.write(json.dumps(results) + "\n")
    for method in args.methods:
        section = settings(spec_of(method), SRConfig(), options)
        assert isinstance(section, SRConfig)
        network = build_network(section, args.dim, args.seed)
        before = round(float(right_choices(network, test.picks).mean()), 3)
        seconds = train(network, data, args.updates, args.batch, args.seed, args.rotate)
        results[method] = {**test.take(network.eval()), "pick_untrained": before, "cpu_s_per_update": round(seconds, 2)}
        sys.stderr.write(json.dumps({method: results[method]}) + "\n")
    sys.stdout.write(json.dumps({**results, "settings": vars(args)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
