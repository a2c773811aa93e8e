"""Does language find its object, before any policy? Measured on the fused cloud of development scenes, sensor noise on.

point: share of sentences whose most similar point (similarity averaged over neighbours) lies on a valid target. region: the same
for the object whose true-mask mean feature is most similar; chance: share of valid targets among the visible objects. By keyword
kind.
Run: ``python benchmarks/grounding.py [--scenes 100] [--split unseen] [--wording train]``. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import binomtest

from srcli.config import Params
from srcli.config.loading import override
from srcli.evaluation.rollout import set_up
from srcli.perception.encoders import load_encoder
from srcli.perception.geometry import unproject_view
from srcli.perception.pipeline import cosine, perceive
from srcli.seeding import Domain, episode_seed, generator
from srcli.sim import ROBOT_PIXEL, World
from srcli.tasks import get_task

FIRST = 500_000
"""First episode index, beyond the episodes of the development suite."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--split", default="unseen")
    parser.add_argument("--wording", default="train")
    arguments = parser.parse_args()
    params = override(Params(), {"cloud.select": "all"})
    encoder, task = load_encoder(params.encoder), get_task("pick")
    hits: dict[str, list[tuple[bool, bool, float]]] = defaultdict(list)
    with World(params.sim) as world:
        for index in range(arguments.scenes):
            seed = episode_seed(params.seed, Domain.DEVELOPMENT, FIRST + index)
            spec = set_up(world, task, task.sample(seed, arguments.split, arguments.wording, params.scene))
            observation, segmentation = world.observe(generator(seed, 1))
            percept = perceive(observation, spec.instruction, encoder, params.cloud)
            seen, slots = [], []
            for depth, K, pose, labels in zip(
                observation.depth, observation.K, observation.T_world_cam, segmentation, strict=True
            ):
                wanted = (labels > 0) & (labels != ROBOT_PIXEL) & (depth > 0)
                seen.append(unproject_view(np.where(wanted, depth, 0).astype(np.float32), K, pose))
                slots.append(labels[wanted].astype(np.int64) - 1)
            owner = np.concatenate(slots)[cKDTree(np.concatenate(seen)).query(percept.cloud.points)[1]]
            visible = np.unique(owner)
            point = int(owner[int(np.argmax(percept.cloud.similarity))])
            means = np.stack([percept.cloud.features[owner == slot].mean(axis=0) for slot in visible])
            region = int(visible[int(np.argmax(cosine(means, percept.text.pooled)))])
            targets = set(spec.goal.targets)
            share = float(np.mean([slot in targets for slot in visible]))
            for group in (spec.goal.keyword_kind, "all"):
                hits[group].append((point in targets, region in targets, share))
    result = {}
    for group, rows in sorted(hits.items()):
        n = len(rows)
        result[group] = {"n": n, "chance": round(float(np.mean([r[2] for r in rows])), 3)}
        for column, name in enumerate(("point", "region")):
            k = sum(bool(r[column]) for r in rows)
            low, high = binomtest(k, n).proportion_ci(method="wilson")
            result[group][name] = f"{k}/{n} = {k / n:.3f} [{low:.3f}, {high:.3f}]"
    sys.stdout.write(json.dumps({"split": arguments.split, "wording": arguments.wording, **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
